//! What machines use, and what is asked of them.

use fireactions_model::MachineId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a machine uses of the host now: its VMM, and so its guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineUsage {
    /// Which machine.
    pub machine: MachineId,
    /// Memory in bytes, without huge pages, which are set aside beforehand, and without page cache that nobody has asked for lately.
    pub memory: u64,
    /// Thousandths of a processor, on average since the look before, which is at most 10 seconds old. Absent at the first look at a
    /// machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicores: Option<u64>,
}

/// Longest time for which a machine is held, in seconds: a week.
pub const HOLD_MAX: u64 = 7 * 24 * 3600;

/// For how long to hold a machine once its job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// Seconds: 1 to 604800, a week.
    pub secs: u64,
}

impl HoldRequest {
    /// What is wrong with it, if anything.
    pub(crate) fn problem(self) -> Option<String> {
        let possible = (1..=HOLD_MAX).contains(&self.secs);
        (!possible).then(|| format!("a machine is held for 1 to {HOLD_MAX} seconds, not for {}", self.secs))
    }
}
