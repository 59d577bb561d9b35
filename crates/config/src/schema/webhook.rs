//! How a forge tells of jobs.

use std::borrow::Cow;

use fireactions_model::ForgeName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{ListenAddress, SecretFile, exclusive, patterns};

/// Where a forge delivers events.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("allOf" = exclusive::webhook()))]
pub struct WebhookConfig {
    /// TCP address for webhook deliveries, the same for all forges. Nothing else is served there. GitHub recommends
    /// `https`: put a TLS proxy in front of it.
    #[schemars(example = "127.0.0.1:8090")]
    pub listen: ListenAddress,
    /// Path of the webhook's URL, different for each forge. When absent, `/webhook/NAME` with the forge's name.
    #[serde(default)]
    #[schemars(extend("pattern" = patterns::WEBHOOK_PATH, "maxLength" = 200), example = "/webhook/github")]
    pub path: Option<String>,
    /// File with the webhook's secret: an absolute path, or `credential:NAME`.
    #[schemars(example = "credential:github-webhook")]
    pub secret_file: Option<SecretFile>,
    /// Several secrets, any of which is accepted, for rotating a secret.
    #[serde(default)]
    pub secret_files: Vec<SecretFile>,
}

impl WebhookConfig {
    /// The path at which this forge's deliveries are taken.
    pub fn path(&self, forge: &ForgeName) -> Cow<'_, str> {
        match &self.path {
            Some(path) => Cow::Borrowed(path),
            None => Cow::Owned(format!("/webhook/{forge}")),
        }
    }

    /// Every secret that is accepted, the single one first.
    pub fn secret_files(&self) -> Vec<SecretFile> {
        self.secret_file.iter().chain(&self.secret_files).cloned().collect()
    }
}
