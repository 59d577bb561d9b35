//! What happens, as the API, the metrics and the logs hear it. Nothing else feeds them.

use serde::{Deserialize, Serialize};

use crate::{JobRecord, MachineId, MachineView, Phase, PoolName, StartMode};

/// One thing that happened. Each carries the whole new state, so that a listener that missed some is right
/// again after the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A machine came or changed.
    Machine {
        /// As it stands.
        machine: Box<MachineView>,
    },
    /// A machine's row is gone.
    MachineGone {
        /// Which.
        id: MachineId,
        /// Its pool.
        pool: PoolName,
    },
    /// A job came or changed.
    Job {
        /// As it stands; of what was asked for, the long parts are left out: the first KiB of the program alone, no
        /// environment, files or artifacts.
        job: Box<JobRecord>,
    },
    /// A phase ended, for the histogram.
    Phase {
        /// Pool.
        pool: PoolName,
        /// Which phase.
        phase: Phase,
        /// Microseconds.
        micros: u64,
    },
    /// A machine's agent spoke for the first time.
    Started {
        /// Pool.
        pool: PoolName,
        /// How the machine came to run.
        how: StartMode,
        /// Why it booted although it was begun as a clone of a template, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<String>,
    },
    /// A hosted forge's job was begun by one of the pool's runners.
    PickedUp {
        /// Pool.
        pool: PoolName,
        /// Microseconds since it was queued at the forge.
        micros: u64,
    },
    /// An image pull made progress.
    Image {
        /// As asked for.
        image: String,
        /// Bytes had so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
        /// "pulling", "converting", "ready", "failed: …".
        status: String,
    },
}
