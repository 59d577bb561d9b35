//! What hosts tell each other of themselves.

use std::collections::{BTreeMap, BTreeSet};

use fireactions_model::{ClusterHost, ForgeName, ForgeReport, Labels, MachineState, PoolName, Room, Share};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub host: ClusterHost,
    /// Its state directory's own key: of two hosts with one name, each has another.
    pub instance: String,
    /// One run of its server: after a restart or a handover it is another.
    pub run: String,
    /// Since when it runs.
    pub since: Timestamp,
    /// The server's version.
    pub version: String,
    /// The version of what it reads and writes here.
    pub protocol: u32,
    /// What fails together with it.
    #[serde(default)]
    pub zone: Option<String>,
    /// What it is or has.
    #[serde(default)]
    pub labels: Labels,
}

/// What a host has, and what of it is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// An operator drained it.
    #[serde(default)]
    pub drained: bool,
    /// Virtual processors of its machines.
    pub vcpus: Share,
    /// Memory of its machines, in MiB, with what each costs beside its own.
    pub memory_mib: Share,
    /// What is left of it for jobs.
    #[serde(default)]
    pub room: Room,
    /// Its pools.
    #[serde(default)]
    pub pools: BTreeMap<PoolName, PoolLoad>,
    /// Its runners, by forge; of forges whose jobs the hosts share.
    #[serde(default)]
    pub forges: BTreeMap<ForgeName, ForgeReport>,
    /// Forges that it listens to for all hosts.
    #[serde(default)]
    pub leads: BTreeSet<ForgeName>,
    /// Jobs of those for which no host has room, by pool.
    #[serde(default)]
    pub unplaced: BTreeMap<PoolName, u32>,
}

impl Load {
    /// Machines of all pools in states of which this is true.
    pub fn machines(&self, which: impl Fn(MachineState) -> bool) -> u32 {
        let all = self.pools.values().flat_map(|pool| &pool.machines);
        all.filter(|(state, _)| which(**state)).map(|(_, count)| count).sum()
    }
}

/// A pool of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolLoad {
    /// Most machines; 0 while it is paused.
    pub max: u32,
    /// Its machines by state; states without machines are left out.
    #[serde(default)]
    pub machines: BTreeMap<MachineState, u32>,
    /// Jobs that wait for it on this host.
    #[serde(default)]
    pub queued: u32,
    /// It makes no machines now: it is paused, or waits after failures.
    #[serde(default)]
    pub holds_back: bool,
}

/// A host of the cluster, as it last told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who it is.
    #[serde(flatten)]
    pub identity: Identity,
    /// What it has.
    pub load: Load,
}
