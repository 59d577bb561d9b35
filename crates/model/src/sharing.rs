//! What the hosts of a cluster tell each other of a hosted forge: each its runners, and the one that listens to the forge for how
//! many jobs each is to have runners, and what the forge says of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{PoolName, RemoteJob};

/// What machines that are not idle leave of a host: idle ones may go for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Room {
    /// Virtual processors. Absent where nothing limits them.
    #[serde(default)]
    pub vcpus: Option<u32>,
    /// Memory in MiB. Absent where nothing limits it.
    #[serde(default)]
    pub memory_mib: Option<u64>,
    /// What a machine costs beside its guest memory, in MiB.
    #[serde(default)]
    pub machine_overhead_mib: u32,
}

/// Jobs that a forge has assigned to a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AssignedJobs {
    /// Those that wait and those that run.
    pub all: u32,
    /// Those that run.
    pub running: u32,
    /// Those that the forge would assign if there were more room, beside `all`.
    #[serde(default)]
    pub held_back: u32,
}

/// A host's runners of a forge.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ForgeReport {
    /// By pool; those of the configuration, and no other.
    pub pools: BTreeMap<PoolName, PoolReport>,
    /// The revision of the share that the host goes by.
    #[serde(default)]
    pub taken: Option<u64>,
}

/// A host's runners of one pool that are there for jobs which the forge still counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PoolReport {
    /// Most machines that the pool may have now.
    pub capacity: u32,
    /// Runners by name, and whether each has a job. One whose job has ended stays for as long as the forge may not know it.
    #[serde(default)]
    pub runners: BTreeMap<String, bool>,
    /// Runners that have no name yet.
    #[serde(default)]
    pub unnamed: u32,
}

/// For what a host is to have runners, and what the forge says of those that it has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ForgeShare {
    /// Its jobs of each pool; a pool without any is left out.
    #[serde(default)]
    pub pools: BTreeMap<PoolName, AssignedJobs>,
    /// The host's runners that this counts.
    #[serde(default)]
    pub counted: BTreeMap<PoolName, BTreeSet<String>>,
    /// Runners beside those that the host may have begun, by this share or by one before that it may still have gone by.
    #[serde(default)]
    pub pending: BTreeMap<PoolName, u32>,
    /// Which of them wait, where that is known: a runner may be for one job alone.
    #[serde(default)]
    pub jobs: BTreeMap<PoolName, Vec<RemoteJob>>,
    /// By the runner's name.
    #[serde(default)]
    pub words: BTreeMap<String, RunnerWord>,
}

/// What a forge says of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerWord {
    /// Whether its job has ended. Otherwise it has begun it.
    pub ended: bool,
    /// The job, as far as it is told.
    pub job: Box<RemoteJob>,
}
