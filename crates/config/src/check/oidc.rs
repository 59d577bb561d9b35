//! Logins by a provider: whether it can be asked, and whether anybody may come in by it.

use fireactions_model::is_private;
use url::Url;

use super::{At, Check};
use crate::Config;
use crate::tree::{Node, Value};

impl Check<'_> {
    pub(super) fn oidc(&mut self, config: &Config) {
        let Some(oidc) = &config.api_oidc else { return };
        let at = At::root().key("api_oidc");
        self.plain_url(&at.key("issuer"), &oidc.issuer, "anybody on the network path could log in");
        self.plain_url(&at.key("url"), &oidc.url, "anybody on the network path could take over logins");
        let words = |text: &str| !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
        for (key, text, longest) in [
            ("client_id", &oidc.client_id, 255),
            ("name", &oidc.name, 63),
            ("groups_claim", &oidc.groups_claim, 255),
        ] {
            if !words(text) || text.chars().count() > longest {
                let key = at.key(key);
                let message = format!("{key} is empty, too long, or contains control characters");
                self.error(&key, &[], message, format!("use 1 to {longest} characters"));
            }
        }
        let scope = |scope: &String| {
            (1..=255).contains(&scope.len())
                && scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        if oidc.scopes.len() > 16 || !oidc.scopes.iter().all(scope) {
            let key = at.key("scopes");
            let message = format!("{key} has what no scope can be");
            self.error(&key, &[], message, "use words without spaces, 16 at most, such as [profile, groups]");
        }
        // Those with an unknown role are told already.
        let given = self.find(&["api_oidc", "groups"]);
        let has_some = matches!(given, Some(Node { value: Value::Map(entries), .. }) if !entries.is_empty());
        if (oidc.groups.is_empty() && !has_some)
            || oidc.groups.len() > 256
            || !oidc.groups.keys().all(|group| words(group))
        {
            let key = at.key("groups");
            let message = if oidc.groups.is_empty() {
                format!("{key} is empty, so nobody may come in")
            } else {
                format!(
                    "{key} has too many groups, or one that is empty, too long, or contains control characters"
                )
            };
            self.error(
                &key,
                &[],
                message,
                "write a group of the provider and a role, such as {ci-admins: admin}",
            );
        }
    }

    fn plain_url(&mut self, key: &At, url: &Url, danger: &str) {
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            let message = format!("{key} is more than a host and a path");
            self.error(key, &[], message, "write https://HOST, or https://HOST/PATH");
        } else if !is_private(url) {
            let message = format!("{key} does not use https, so {danger}");
            self.error(
                key,
                &[],
                message,
                "write https://HOST; only an address of this host itself may use http",
            );
        }
    }
}
