//! GitHub: who asks it, and how it tells of jobs.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Deserializer;
use url::Url;

use super::urls::{proxy, web_url};
use super::{AbsolutePath, AppId, Duration, SecretFile, WebhookConfig, exclusive};

/// GitHub, for pools whose runners belong to one of its organizations, repositories or enterprises. The server
/// authenticates as one or several GitHub Apps, or with a personal access token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("allOf" = exclusive::github()))]
pub struct GithubConfig {
    /// URL of the web interface: `https://github.com`, `https://TENANT.ghe.com`, or a GitHub Enterprise Server. `http`
    /// only with a loopback address.
    #[serde(deserialize_with = "url")]
    #[schemars(with = "String", extend("default" = "https://github.com", "format" = "uri"))]
    pub url: Url,
    /// Id of the GitHub App: its number, or its client id.
    #[schemars(example = 12345)]
    pub app_id: Option<AppId>,
    /// File with the App's private key (PEM): an absolute path, or `credential:NAME`. When GitHub rejects the key, the
    /// file is read again, so a key can be rotated by replacing the file.
    #[schemars(example = "credential:github-app-key")]
    pub app_private_key_file: Option<SecretFile>,
    /// Several Apps, instead of `app_id`. Each organization or repository uses the first one that is installed there.
    pub apps: Vec<GithubApp>,
    /// File with a personal access token, instead of an App. Runners of an enterprise need one.
    #[schemars(example = "credential:github-token")]
    pub token_file: Option<SecretFile>,
    /// Certificates (PEM) of authorities to trust in addition to the usual ones. The server trusts them, and so do the runners in the
    /// machines and the steps of their jobs; containers of a job do not.
    #[schemars(example = "/etc/ssl/certs/company.pem")]
    pub ca_file: Option<AbsolutePath>,
    /// Proxy for requests to GitHub. When absent, `HTTPS_PROXY` and `NO_PROXY` of the server's environment apply; a
    /// proxy that needs a password can only be set there.
    #[serde(deserialize_with = "proxy")]
    #[schemars(with = "Option<String>", extend("format" = "uri"), example = "http://proxy.example.com:3128")]
    pub proxy: Option<Url>,
    /// Webhook deliveries. Optional: scale sets and the audit need no open port.
    pub webhook: Option<WebhookConfig>,
    /// How often GitHub is polled for what no signal reported: waiting jobs of pools without a scale set, and runners
    /// without a machine. From `30s` to `1h`.
    pub audit_interval: Duration,
}

impl Default for GithubConfig {
    fn default() -> Self {
        Self {
            url: github_com(),
            app_id: None,
            app_private_key_file: None,
            apps: Vec::new(),
            token_file: None,
            ca_file: None,
            proxy: None,
            webhook: None,
            audit_interval: Duration::secs(300),
        }
    }
}

#[expect(clippy::expect_used, reason = "a constant, and the tests read it")]
fn github_com() -> Url {
    Url::parse("https://github.com").expect("a URL")
}

/// One of several Apps.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GithubApp {
    /// Its id: its number, or its client id.
    #[schemars(example = 12345)]
    pub app_id: AppId,
    /// File with its private key (PEM): an absolute path, or `credential:NAME`.
    #[schemars(example = "credential:github-app-key")]
    pub private_key_file: SecretFile,
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    web_url(&String::deserialize(deserializer)?, "https://HOST, such as https://github.com")
}

impl GithubConfig {
    /// Every App with the file of its key; none when a token is used.
    pub fn all_apps(&self) -> Vec<(String, SecretFile)> {
        let one = self.app_id.clone().zip(self.app_private_key_file.clone());
        let several = self.apps.iter().map(|app| (app.app_id.clone(), app.private_key_file.clone()));
        one.into_iter().chain(several).map(|(id, file)| (id.0, file)).collect()
    }
}
