//! GitHub: reserved.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{RefusedSecret, SecretFile};

/// A GitHub App. Read and checked, but not used yet.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GithubConfig {
    /// Number of the GitHub App.
    #[schemars(range(min = 1), example = 12345)]
    pub app_id: u64,
    /// File with the App's private key (PEM): an absolute path, or `credential:NAME`.
    #[schemars(example = "credential:github-app-key")]
    pub app_private_key_file: Option<SecretFile>,
    /// Inline keys are refused; use `app_private_key_file`.
    #[doc(hidden)]
    #[serde(default)]
    #[schemars(skip)]
    #[expect(dead_code, reason = "reading it always fails, with the key to use instead")]
    pub(crate) app_private_key: Option<RefusedSecret>,
}
