//! What is kept of a machine that ended badly.

use serde::{Deserialize, Serialize};

use crate::{MachineState, Step};

/// What was known about a machine when it was given up. The guest wrote parts of it: they are bounded and hold no
/// control characters except line ends and tabs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Autopsy {
    /// Its state.
    pub state: MachineState,
    /// Its last journaled step.
    pub step: Step,
    /// How its VMM process ended, or what was wrong with the process while it still ran.
    pub vmm: Option<String>,
    /// How often the host killed it for memory: its cgroup's own count.
    pub oom_kills: u32,
    /// The last lines of its console, at most 4 KiB.
    pub console_tail: String,
}
