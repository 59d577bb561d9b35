//! A Gitea or a Forgejo: where it is, and who asks it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Deserializer;
use url::Url;

use super::urls::{proxy, web_url};
use super::{AbsolutePath, Duration, SecretFile, WebhookConfig, exclusive};

/// A Gitea or a Forgejo, for pools whose runners belong to it, or to one of its organizations, repositories or users.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = exclusive::gitea()))]
pub struct GiteaConfig {
    /// URL of the web interface, with its path prefix if it has one: `https://git.example.com`,
    /// `https://example.com/git/`. Machines reach it at the same address.
    #[serde(deserialize_with = "url")]
    #[schemars(with = "String", extend("format" = "uri"), example = "https://git.example.com")]
    pub url: Url,
    /// File with an access token: an absolute path, or `credential:NAME`. With it, the server polls for waiting jobs
    /// and registers a runner for each. When the forge rejects the token, the file is read again.
    #[schemars(example = "credential:gitea-token")]
    pub api_token_file: Option<SecretFile>,
    /// File with a registration token for runners, instead of an access token. With it alone, the server cannot see
    /// waiting jobs, so `min_runners` runners of each pool (at least one) wait for them, and the results of jobs are
    /// not known.
    #[schemars(example = "credential:gitea-registration")]
    pub runner_token_file: Option<SecretFile>,
    /// Certificates (PEM) of authorities to trust in addition to the usual ones. The server trusts them, and so do the runners in the
    /// machines and the steps of their jobs; containers of a job do not.
    #[schemars(example = "/etc/ssl/certs/company.pem")]
    pub ca_file: Option<AbsolutePath>,
    /// Proxy for requests to it. When absent, `HTTPS_PROXY` and `NO_PROXY` of the server's environment apply; a proxy
    /// that needs a password can only be set there.
    #[serde(default, deserialize_with = "proxy")]
    #[schemars(with = "Option<String>", extend("format" = "uri"), example = "http://proxy.example.com:3128")]
    pub proxy: Option<Url>,
    /// Allows a `url` that begins with `http://`. Anybody on the network path can then read tokens and jobs. Loopback
    /// addresses are always allowed.
    #[serde(default)]
    pub insecure_http: bool,
    /// Webhook deliveries of Gitea 1.24 or newer, which report jobs sooner than the next poll. Forgejo has no such
    /// webhook.
    pub webhook: Option<WebhookConfig>,
    /// How often the queue is polled. From `1s` to `5m`. A job that is cancelled at the forge runs on until the next poll,
    /// unless a webhook reports it.
    #[serde(default = "poll_interval")]
    pub poll_interval: Duration,
    /// How often the server looks for runners without a machine. From `30s` to `1h`.
    #[serde(default = "audit_interval")]
    pub audit_interval: Duration,
}

const fn poll_interval() -> Duration {
    Duration::secs(3)
}

const fn audit_interval() -> Duration {
    Duration::secs(300)
}

/// Its path ends with a slash, so that others can be put behind it.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let mut url =
        web_url(&String::deserialize(deserializer)?, "https://HOST, such as https://git.example.com")?;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}
