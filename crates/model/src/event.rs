//! What happens, as the API, the metrics and the logs hear it. Nothing else feeds them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{JobId, JobRecord, MachineId, MachineView, Phase, PoolName, StartMode};

/// One thing that happened. Each event carries the complete new state, so a listener that missed some is up to date
/// again with the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A machine was created or changed.
    Machine {
        /// Its current state.
        #[cfg_attr(feature = "schema", schema(value_type = MachineView))]
        machine: Arc<MachineView>,
    },
    /// A machine's row was removed.
    MachineGone {
        /// Which.
        id: MachineId,
        /// Its pool.
        pool: PoolName,
    },
    /// A job was created or changed.
    Job {
        /// Its current state. Long parts of the specification are left out: only the first KiB of the program, no
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
    /// A machine's agent connected for the first time.
    Started {
        /// Pool.
        pool: PoolName,
        /// How the machine was started.
        how: StartMode,
        /// Why it booted although it was started as a clone of a template, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<String>,
    },
    /// One of the pool's runners began a hosted forge's job.
    PickedUp {
        /// The job, as it is known here.
        job: JobId,
        /// Pool.
        pool: PoolName,
        /// Microseconds since it was queued at the forge.
        micros: u64,
    },
    /// An image pull made progress.
    Image {
        /// As requested.
        image: String,
        /// Bytes fetched so far.
        done: u64,
        /// Total bytes, if known.
        total: Option<u64>,
        /// "pulling", "converting", "ready", "failed: …".
        status: String,
    },
}
