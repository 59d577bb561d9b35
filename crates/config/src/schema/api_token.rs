//! Tokens of the API, for several people and programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretFile, patterns};

/// A bearer token of the API: whose it is, and what it allows. It is asked for at TCP addresses, and on the Unix socket from whoever comes
/// by a proxy or with a browser.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTokenConfig {
    /// Whose it is. The name stands in the log with everything that is done with the token: 1 to 63 of `a-z A-Z 0-9 . _ -`.
    #[schemars(extend("pattern" = patterns::TOKEN_NAME), example = &"grafana")]
    pub name: String,
    /// What it allows.
    pub role: ApiRole,
    /// File with the token: an absolute path, or `credential:NAME`, as `api_token_file`.
    #[schemars(example = "credential:grafana-token")]
    pub file: SecretFile,
}

/// What a token of the API allows. Each role may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiRole {
    /// Look at jobs, logs, consoles, machines, pools, images and metrics. Values of environments and metadata are never shown.
    Viewer,
    /// Submit and cancel jobs, remove machines, run commands in them.
    Operator,
    /// Pause and scale pools, pull and remove images, drain the host.
    Admin,
}

impl ApiTokenConfig {
    /// Whether its name may stand in the log as it is.
    pub fn has_good_name(&self) -> bool {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=63).contains(&self.name.len()) && self.name.bytes().all(good)
    }
}
