//! Logins of people by a provider of OpenID Connect.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::urls::web_url;
use super::{AbsolutePath, ApiRole, SecretFile};

/// A provider of OpenID Connect, such as Keycloak, Dex, Authentik or Entra ID, by which people log in to the page.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The provider's issuer, as its `.well-known/openid-configuration` has it.
    #[serde(deserialize_with = "issuer")]
    #[schemars(with = "String", extend("format" = "uri"), example = "https://sso.example.com/realms/acme")]
    pub issuer: Url,
    /// Where people see the page, with its path prefix if it has one. The provider is told to send them back to
    /// `api/v1/session/oidc/callback` below it: that is the redirect URI to register there.
    #[serde(deserialize_with = "page")]
    #[schemars(with = "String", extend("format" = "uri"), example = "https://ci.example.com/")]
    pub url: Url,
    /// What the provider calls the page.
    #[schemars(length(min = 1, max = 255), example = &"fireactions")]
    pub client_id: String,
    /// File with the client's secret: an absolute path, or `credential:NAME`. None for a public client. It is read when the server
    /// starts.
    #[schemars(example = "credential:oidc-secret")]
    pub client_secret_file: Option<SecretFile>,
    /// What people call the provider: the page has a button with it.
    #[serde(default = "OidcConfig::usual_name")]
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// What is asked for beside `openid`. Some providers tell groups only for a scope of their own.
    #[serde(default = "OidcConfig::usual_scopes")]
    #[schemars(length(max = 16), example = ["profile", "groups"])]
    pub scopes: Vec<String>,
    /// The claim of the id token, or of the provider's userinfo, that has somebody's groups.
    #[serde(default = "OidcConfig::usual_claim")]
    #[schemars(length(min = 1, max = 255))]
    pub groups_claim: String,
    /// What each group may do. Whoever is in several may do what the highest may; whoever is in none is refused.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 256), example = serde_json::json!({"ci-admins": "admin", "developers": "viewer"}))]
    pub groups: BTreeMap<String, ApiRole>,
    /// Certificates (PEM) of authorities to trust in addition to the usual ones.
    #[schemars(example = "/etc/ssl/certs/company.pem")]
    pub ca_file: Option<AbsolutePath>,
}

impl OidcConfig {
    fn usual_name() -> String {
        "single sign-on".to_owned()
    }

    fn usual_scopes() -> Vec<String> {
        vec!["profile".to_owned()]
    }

    fn usual_claim() -> String {
        "groups".to_owned()
    }
}

fn issuer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    web_url(&String::deserialize(deserializer)?, "https://HOST or https://HOST/PATH, as the provider has it")
}

fn page<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    web_url(&String::deserialize(deserializer)?, "where people see the page, such as https://ci.example.com/")
}
