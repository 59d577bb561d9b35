//! What the engine has now, and what differs between two looks. Changes are found in the views themselves, so no lost event can hide
//! one.

use std::collections::HashMap;
use std::hash::Hash;

use fireactions_model::{HostView, JobRecord, MachineView, PoolView};
use jiff::Timestamp;

use crate::engine::Result;
use crate::server::answer::shown;
use crate::types::arrange;
use crate::{Engine, ForgeLimits, LiveDelta, LiveGone, LiveSnapshot, Version};

/// How many jobs that have ended are in the view.
const ENDED: u32 = 500;
/// How many limits of a forge are: their names come from the network.
const LIMITS: usize = 32;

/// What a page shows, without what nobody is to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    host: HostView,
    limits: Vec<ForgeLimits>,
    pools: Vec<PoolView>,
    jobs: Vec<JobRecord>,
    machines: Vec<MachineView>,
}

impl View {
    pub(super) async fn look(engine: &dyn Engine) -> Result<Self> {
        let pools = engine.pools().await?.into_iter().map(shown).collect();
        // Machines first: a job that is bound in between is seen with a machine that comes with the next look.
        let mut machines: Vec<MachineView> = engine.machines().await?.into_iter().map(shown).collect();
        let mut jobs: Vec<JobRecord> =
            engine.recent_jobs(ENDED).await?.iter().map(|job| shown(job.brief())).collect();
        arrange(&mut jobs, &mut machines);
        Ok(Self { host: engine.host().await?, limits: limits(engine), pools, jobs, machines })
    }

    /// With the gauges of another view: what changes all the time, without anything that happens.
    pub(super) fn with_gauges_of(mut self, other: &Self) -> Self {
        self.host.budget.disk_mib = other.host.budget.disk_mib;
        self.limits.clone_from(&other.limits);
        self
    }

    pub(super) fn snapshot(&self, revision: u64, at: Timestamp, version: Version) -> LiveSnapshot {
        let Self { host, limits, pools, jobs, machines } = self.clone();
        LiveSnapshot { revision, at, version, host, limits, pools, jobs, machines }
    }

    /// What leads from this view to `after`; nothing if they are the same.
    pub(super) fn delta(&self, after: &Self, revision: u64, at: Timestamp) -> Option<LiveDelta> {
        if self == after {
            return None;
        }
        let (pools, gone_pools) = differing(&self.pools, &after.pools, |pool| &pool.spec.name);
        let (jobs, gone_jobs) = differing(&self.jobs, &after.jobs, |job| &job.id);
        let (machines, gone_machines) = differing(&self.machines, &after.machines, |machine| &machine.id);
        Some(LiveDelta {
            revision,
            at,
            host: (self.host != after.host).then(|| after.host.clone()),
            limits: (self.limits != after.limits).then(|| after.limits.clone()),
            pools,
            jobs,
            machines,
            gone: LiveGone { pools: gone_pools, jobs: gone_jobs, machines: gone_machines },
        })
    }
}

/// What the forges say of their limits; those that say nothing are left out.
fn limits(engine: &dyn Engine) -> Vec<ForgeLimits> {
    let of = |forge: fireactions_model::ForgeView| {
        let mut limits = forge.remote?.limits;
        limits.truncate(LIMITS);
        (!limits.is_empty()).then_some(ForgeLimits { forge: forge.name, limits })
    };
    engine.forges().into_iter().filter_map(of).collect()
}

/// What is new or not the same any more, and the keys of what is gone.
fn differing<T, K>(before: &[T], after: &[T], key: fn(&T) -> &K) -> (Vec<T>, Vec<K>)
where
    T: PartialEq + Clone,
    K: Eq + Hash + Clone,
{
    let mut old: HashMap<&K, &T> = before.iter().map(|one| (key(one), one)).collect();
    let changed = after.iter().filter(|new| old.remove(key(new)) != Some(*new)).cloned().collect();
    (changed, old.into_keys().cloned().collect())
}
