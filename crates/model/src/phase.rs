//! The phases of one job's way, as metrics and tables name them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A phase of a job. Their order is the order in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The job waits for a machine.
    Queued,
    /// Root image made ready (0 when cached) and scratch disk made.
    Image,
    /// Tap, address and rules, as far as they took longer than the scratch disk, which is made at the same time.
    Net,
    /// VMM process started and its guest running.
    Spawn,
    /// Kernel start until the agent's first word.
    Kernel,
    /// Agent's first word until the machine is ready.
    Agent,
    /// Work delivered until its process runs (forge runners: until online).
    Runner,
    /// The work itself.
    Job,
    /// Everything undone.
    Teardown,
}

impl Phase {
    /// All phases in order.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Image,
        Self::Net,
        Self::Spawn,
        Self::Kernel,
        Self::Agent,
        Self::Runner,
        Self::Job,
        Self::Teardown,
    ];

    /// The name used in metrics, JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Image => "image",
            Self::Net => "net",
            Self::Spawn => "spawn",
            Self::Kernel => "kernel",
            Self::Agent => "agent",
            Self::Runner => "runner",
            Self::Job => "job",
            Self::Teardown => "teardown",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long each finished phase took, in microseconds.
pub type PhaseTimes = BTreeMap<Phase, u64>;
