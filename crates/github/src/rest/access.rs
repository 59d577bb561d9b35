//! What the credential of a scope may do: for `fireactions github check`.

use fireactions_model::RateLimit;
use reqwest::StatusCode;
use serde::Deserialize;

use crate::address::url;
use crate::auth::Identity;
use crate::caller::Call;
use crate::response::Meaning as _;
use crate::{Error, Github, Scope, manifest};

/// Who asks for a scope, and what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The App; none when a token is used.
    pub app: Option<AppAccess>,
    /// The OAuth scopes of a classic token; a fine-grained one and an App have none to show.
    pub token_scopes: Option<Vec<String>>,
    /// Permissions that the App lacks there.
    pub missing: Vec<MissingPermission>,
    /// Events that the App does not get: without them there are no webhooks, and jobs are found by polling or by a scale
    /// set's messages.
    pub missing_events: Vec<String>,
    /// Whether the scope's runners can be listed: the proof that the credential is good.
    pub runners: Result<usize, Error>,
    /// Rate limits of the credential.
    pub limits: Vec<RateLimit>,
}

/// An App and its installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppAccess {
    /// Its number.
    pub id: u64,
    /// As in its page's address.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its page.
    pub url: String,
    /// The installation's number.
    pub installation: u64,
    /// Where the installation is set up.
    pub installation_url: String,
    /// `all` or `selected` repositories.
    pub repository_selection: String,
    /// What it was given, `name: level`.
    pub permissions: std::collections::BTreeMap<String, String>,
    /// What it is told.
    pub events: Vec<String>,
}

/// A permission that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPermission {
    /// GitHub's name of it, such as `organization_self_hosted_runners`.
    pub name: &'static str,
    /// `read` or `write`.
    pub wanted: &'static str,
    /// What there is instead.
    pub granted: Option<String>,
}

#[derive(Deserialize)]
struct WireApp {
    id: u64,
    #[serde(default)]
    slug: String,
    name: String,
    #[serde(default)]
    html_url: String,
}

impl Github {
    /// Looks at the credential of a scope.
    ///
    /// # Errors
    ///
    /// See [`Error`]: no App is installed there, or the credential is not accepted at all. What is merely missing is in
    /// the result.
    pub async fn describe(&self, scope: &Scope) -> Result<Access, Error> {
        let (app, missing, missing_events) = match self.auth().identity(scope).await? {
            Identity::Token => (None, Vec::new(), Vec::new()),
            Identity::Apps { app, installation } => {
                let wire: WireApp = serde_json::from_value(app).map_err(|_| Error::Unexpected {
                    doing: format!("look at the App of {scope}"),
                    why: "it is not an App".into(),
                })?;
                let missing = missing(scope, &installation.permissions);
                let told = |event: &&str| installation.events.iter().any(|known| known == event);
                let missing_events =
                    manifest::EVENTS.iter().filter(|event| !told(event)).map(ToString::to_string).collect();
                let app = AppAccess {
                    id: wire.id,
                    slug: wire.slug,
                    name: wire.name,
                    url: wire.html_url,
                    installation: installation.id,
                    installation_url: installation.html_url,
                    repository_selection: installation.repository_selection,
                    permissions: installation.permissions,
                    events: installation.events,
                };
                (Some(app), missing, missing_events)
            }
        };
        let call = Call::get(
            format!("look at the rate limit of {scope}"),
            "rate-limit",
            url(self.api(), &["rate_limit"]),
        );
        let response = self.call(scope, &call).await?;
        // A GitHub Enterprise Server without limits has no such page.
        if !matches!(response.status, StatusCode::OK | StatusCode::NOT_FOUND) {
            return Err(response.failure());
        }
        let scopes = response.header("x-oauth-scopes").filter(|_| app.is_none());
        let token_scopes = scopes
            .map(|text| text.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect());
        let runners = self.runners(scope).await.map(|runners| runners.len());
        let label = self.auth().authorize(scope, self.caller().deadline()).await?.label;
        let limits = self.limits().into_iter().filter(|limit| limit.credential == label).collect();
        Ok(Access { app, token_scopes, missing, missing_events, runners, limits })
    }
}

/// The permissions that a scope needs and that were not given.
fn missing(scope: &Scope, granted: &std::collections::BTreeMap<String, String>) -> Vec<MissingPermission> {
    let rank = |level: &str| ["read", "write", "admin"].iter().position(|known| *known == level);
    let lacks = |(name, wanted): &(&'static str, &'static str)| {
        let given = granted.get(*name);
        let enough = given.is_some_and(|given| rank(given) >= rank(wanted));
        (!enough).then(|| MissingPermission { name, wanted, granted: given.cloned() })
    };
    manifest::permissions(scope).iter().filter_map(lacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing() {
        let granted = |list: &[(&str, &str)]| {
            list.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
        };
        let organization: Scope = "acme".parse().unwrap();
        let all = granted(&[
            ("organization_self_hosted_runners", "write"),
            ("actions", "write"),
            ("metadata", "read"),
        ]);
        assert_eq!(missing(&organization, &all), []);
        let less = granted(&[("organization_self_hosted_runners", "read"), ("metadata", "read")]);
        let lacking = missing(&organization, &less);
        assert_eq!(lacking.len(), 2);
        assert!(lacking.contains(&MissingPermission {
            name: "organization_self_hosted_runners",
            wanted: "write",
            granted: Some("read".into())
        }));
        let repository: Scope = "acme/widgets".parse().unwrap();
        assert_eq!(missing(&repository, &all)[0].name, "administration");
    }
}
