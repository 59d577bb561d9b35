//! Logins of people by a provider of OpenID Connect: the way there, the way back, and the role that their groups give them.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fireactions_oidc::{Error, Pending, Provider};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::request::{cookie_named, is_by_tls};
use crate::{Code, Fault, Role};

/// The cookie of a login that has begun: what its answer has to fit.
const COOKIE_NAME: &str = "fireactions_login";
const AGAIN: &str = "begin again at the page; a login has ten minutes, in one browser";
/// The most of a name in the log.
const NAME: usize = 64;

/// A provider whose people may log in.
#[derive(Clone)]
pub struct Oidc {
    /// The provider.
    pub provider: Provider,
    /// What people call it.
    pub name: String,
    /// What its groups may do.
    pub groups: BTreeMap<String, Role>,
    /// Where people see the page.
    pub page: Url,
    /// What tells this provider, and us as its client, from others.
    pub identity: String,
}

/// What a provider's answer says, as a browser brings it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(in crate::server) struct Answer {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Somebody who is in.
pub(super) struct Person {
    pub(super) name: String,
    pub(super) role: Role,
}

impl Oidc {
    /// Where the provider sends people back to, below the page.
    pub fn redirect(page: &Url) -> Url {
        let mut url = page.clone();
        url.set_path(&format!("{}/api/v1/session/oidc/callback", page.path().trim_end_matches('/')));
        url
    }

    /// The mark of logins by it. What its groups may do is in it: who may less now is out.
    pub(super) fn mark(&self) -> String {
        let mut hash = Sha256::new();
        let groups = self.groups.iter().flat_map(|(group, role)| [group.as_str(), role.name()]);
        for part in ["oidc", &self.identity].into_iter().chain(groups) {
            hash.update(u64::try_from(part.len()).unwrap_or_default().to_be_bytes());
            hash.update(part);
        }
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }

    /// Begins a login: where its browser goes, and the cookie that it brings back.
    pub(super) async fn begin(&self, headers: &HeaderMap) -> Result<(Url, HeaderValue), Fault> {
        let (url, pending) = self.provider.begin().await.map_err(|error| self.fault(&error))?;
        Ok((url, cookie(&pending.to_text(), is_by_tls(headers), 600)))
    }

    /// The login that this answer ends, which the browser that brings it has begun. Any page can send a browser here with an
    /// answer to nothing, so that is nobody's attempt.
    pub(super) fn begun(headers: &HeaderMap, answer: &Answer) -> Result<Pending, Fault> {
        let begun = cookie_named(headers, COOKIE_NAME).and_then(Pending::from_text);
        let ours =
            |pending: &Pending| answer.state.as_deref().is_some_and(|state| pending.is_answered_by(state));
        begun.filter(ours).ok_or_else(|| {
            Fault::new(Code::Unauthorized, "this is not the end of a login that this browser has begun")
                .hint(AGAIN)
        })
    }

    /// Ends it.
    pub(super) async fn finish(&self, pending: &Pending, answer: &Answer) -> Result<Person, Fault> {
        if let Some(error) = &answer.error {
            return Err(self.fault(&Provider::refusal(error, answer.error_description.as_deref())));
        }
        let Some(code) = &answer.code else {
            return Err(
                Fault::new(Code::Unauthorized, "the provider has sent nothing to log in with").hint(AGAIN)
            );
        };
        let ended = self.provider.finish(pending, code, answer.iss.as_deref()).await;
        let identity = ended.map_err(|error| self.fault(&error))?;
        let name = log_name(&identity.name);
        match identity.groups.iter().filter_map(|group| self.groups.get(group)).max() {
            Some(role) => Ok(Person { name, role: *role }),
            None => Err(Fault::new(
                Code::Forbidden,
                format!("{} knows you as {name}, and none of your groups may use this server", self.name),
            )
            .hint("the server's api_oidc.groups say which may; ask its administrator")),
        }
    }

    fn fault(&self, error: &Error) -> Fault {
        tracing::warn!("a login by {} came to nothing: {error}", self.name);
        let code = if matches!(error, Error::Http(_) | Error::Discovery(_)) {
            Code::Unavailable
        } else {
            Code::Unauthorized
        };
        Fault::new(code, format!("{}: {error}", self.name))
            .hint("begin again at the page; the server's log has more")
    }
}

/// What takes the cookie away.
pub(in crate::server) fn no_cookie() -> HeaderValue {
    cookie("", false, 0)
}

/// It comes back from the provider's page, so not by this server's own page alone.
fn cookie(value: &str, tls: bool, seconds: u32) -> HeaderValue {
    let secure = if tls { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}");
    // Letters, digits, points and dashes alone.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// How somebody stands in the log: never as a token or the socket would.
fn log_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-@+".contains(c) { c } else { '_' };
    format!("oidc:{}", name.chars().take(NAME).map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_are_no_names_of_tokens_and_fit_into_a_line() {
        assert_eq!(log_name("anna@example.com"), "oidc:anna@example.com");
        assert_eq!(log_name("a\nb \u{1b}[31m=ä\"'"), "oidc:a_b___31m____");
        assert_eq!(log_name(&"x".repeat(9000)).len(), NAME + 5);
    }

    #[test]
    fn the_way_back_is_below_the_page() {
        for (page, redirect) in [
            ("https://ci.example", "https://ci.example/api/v1/session/oidc/callback"),
            ("https://ci.example/fire/", "https://ci.example/fire/api/v1/session/oidc/callback"),
        ] {
            assert_eq!(Oidc::redirect(&page.parse().unwrap()).as_str(), redirect);
        }
    }
}
