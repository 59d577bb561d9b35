//! The host: what a user may change.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest reason that is taken, in characters.
pub const REASON_MAX: usize = 500;

/// Whether to drain the host. It holds until the next change, across restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// True: the host makes no machines and removes idle ones, running jobs finish, jobs are still queued. False: the
    /// host takes work again.
    pub drained: bool,
    /// The reason, in one line for people: at most 500 characters. Shown wherever jobs wait. A drained host keeps its
    /// reason when this is absent.
    #[serde(default)]
    pub reason: Option<String>,
}

impl DrainRequest {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let reason = self.reason.as_ref()?;
        if reason.chars().count() > REASON_MAX {
            return Some(format!("the reason is longer than {REASON_MAX} characters"));
        }
        if reason.chars().any(char::is_control) {
            return Some("the reason has line breaks or other control characters".to_owned());
        }
        (!self.drained).then(|| "a reason is only for draining".to_owned())
    }
}
