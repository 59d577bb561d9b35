//! What becomes of a failed machine.

use fireactions_model as model;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;

/// What happens to a machine that failed, or whose job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailureSetting {
    /// It is destroyed at once.
    #[default]
    Destroy,
    /// It is kept for a while for `fireactions login`, `exec` and `logs`, if its VMM process still runs. It counts
    /// against the host's budget but not against `max_runners`, and serves no other job.
    Hold(HoldConfig),
}

/// How failed machines are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HoldConfig {
    /// How long a machine is kept, from 1s to 7d.
    #[serde(rename = "for")]
    pub for_: Duration,
    /// Maximum number of held machines of the pool; further machines that fail are destroyed.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
}

impl Default for HoldConfig {
    fn default() -> Self {
        Self { for_: Duration::secs(30 * 60), max: 2 }
    }
}

impl OnFailureSetting {
    pub(super) fn spec(self) -> model::OnFailure {
        match self {
            Self::Destroy => model::OnFailure::Destroy,
            Self::Hold(hold) => model::OnFailure::Hold { for_: hold.for_.0, max: hold.max },
        }
    }
}
