//! The live view: all that a page shows, and what changes in it.

use fireactions_model::{
    ForgeName, HostView, JobId, JobRecord, MachineId, MachineView, PoolName, PoolView, RateLimit,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Version;

/// Everything at one moment: the first event of the live view, and again whenever a client was too slow for changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveSnapshot {
    /// Its number. Each change has the next one; a server that starts begins anew.
    pub revision: u64,
    /// When the server looked.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What runs.
    pub version: Version,
    /// The host as a whole. Its disk is told at most every 5 seconds.
    pub host: HostView,
    /// The limits on requests of forges that say what theirs are, told at most every 5 seconds.
    #[serde(default)]
    pub limits: Vec<ForgeLimits>,
    /// Every pool, in the order of the configuration.
    pub pools: Vec<PoolView>,
    /// Jobs that are not final (of those that are queued, at most the newest 1000) and the newest 500 that are; newest
    /// first. As events tell them: without environment and files, and with the first KiB of the program.
    pub jobs: Vec<JobRecord>,
    /// Every machine, oldest first.
    pub machines: Vec<MachineView>,
}

/// What has changed since the revision before. What is absent has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveDelta {
    /// The number of the state after it. If it is not the one after the last that a client has, the client connects anew.
    pub revision: u64,
    /// When the server looked.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The host as a whole, if anything in it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostView>,
    /// The forges' limits on requests, all of them, if anything in them changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Vec<ForgeLimits>>,
    /// Pools that are new or changed, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolView>,
    /// Jobs that are new or changed, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobRecord>,
    /// Machines that are new or changed, whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineView>,
    /// What is not in the view any more.
    #[serde(default, skip_serializing_if = "LiveGone::is_empty")]
    pub gone: LiveGone,
}

/// What a forge allows of requests, as it last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgeLimits {
    /// The forge, by its name in the configuration.
    #[schema(value_type = String)]
    pub forge: ForgeName,
    /// Each of its limits, at most 32.
    pub limits: Vec<RateLimit>,
}

/// What is not in the live view any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LiveGone {
    /// Pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolName>,
    /// Jobs: removed, or ended so long ago that they are not shown any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<JobId>,
    /// Machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineId>,
}

/// Nothing has changed, and the server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LivePing {
    /// The number of the state that still holds.
    pub revision: u64,
    /// When it was sent.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// A change that does not follow on what is there: something was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the live view went from revision {have} to {came}; what was between is missing")]
pub struct LiveGap {
    /// The revision that is there.
    pub have: u64,
    /// The one that came.
    pub came: u64,
}

impl LiveGone {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl LiveSnapshot {
    /// Brings it up to date. After an error it is as before; connect anew.
    pub fn apply(&mut self, delta: LiveDelta) -> Result<(), LiveGap> {
        if delta.revision != self.revision + 1 {
            return Err(LiveGap { have: self.revision, came: delta.revision });
        }
        (self.revision, self.at) = (delta.revision, delta.at);
        if let Some(host) = delta.host {
            self.host = host;
        }
        if let Some(limits) = delta.limits {
            self.limits = limits;
        }
        let LiveGone { pools, jobs, machines } = delta.gone;
        merge(&mut self.pools, delta.pools, &pools, |pool| &pool.spec.name);
        merge(&mut self.jobs, delta.jobs, &jobs, |job| &job.id);
        merge(&mut self.machines, delta.machines, &machines, |machine| &machine.id);
        arrange(&mut self.jobs, &mut self.machines);
        Ok(())
    }
}

/// Puts jobs and machines in the order of the live view.
pub(crate) fn arrange(jobs: &mut [JobRecord], machines: &mut [MachineView]) {
    jobs.sort_by(|a, b| b.queued_at.cmp(&a.queued_at).then_with(|| a.id.cmp(&b.id)));
    machines.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
}

fn merge<T, K: PartialEq>(all: &mut Vec<T>, changed: Vec<T>, gone: &[K], key: fn(&T) -> &K) {
    all.retain(|one| !gone.contains(key(one)));
    for new in changed {
        match all.iter_mut().find(|one| key(one) == key(&new)) {
            Some(old) => *old = new,
            None => all.push(new),
        }
    }
}
