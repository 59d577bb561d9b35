//! What waits at GitHub, and what of ours is there for it. Signals put in what they know, in any order and more than
//! once; every question is answered from all of it. Plain data, no IO, no clock of its own.
//!
//! A pool's runners are wanted by one of two counts, never by both:
//! - with a scale set: the set's own statistics, which are the truth of what GitHub has assigned to it;
//! - without: the queued jobs that were heard of (webhook, audit), each placed in one pool.
//!
//! Runners that are there are taken off. GitHub decides which job a runner gets, so runners and jobs are counted, not
//! paired.

mod place;
mod queue;
mod runners;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use fireactions_github::Repository;
use fireactions_github::scaleset::Statistics;
use fireactions_model::{JobId, Place, PoolName, PoolSpec};
use jiff::Timestamp;

use crate::oldest::oldest;

pub(super) use place::{IMPLIED, Served, is_implied};
pub(super) use queue::{Queue, Waiting, describe};
pub(super) use runners::{Runner, Runners, Stage};

/// How long a runner may be ahead of what GitHub says of it: it has begun or ended a job that its scale set's statistics, or
/// the webhook, do not tell yet. Then GitHub's word counts.
pub(super) const AHEAD: Duration = Duration::from_secs(60);

/// How far GitHub's lists may be behind what it says otherwise: what was heard of so short a time before a list was asked for
/// may be missing there.
pub(super) const BEHIND: Duration = Duration::from_secs(15);

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The pools that demand was last asked for: GitHub's alone, in the configuration's order.
    pools: Vec<PoolSpec>,
    /// Most machines of each pool; its configured maximum, when absent.
    capacity: BTreeMap<PoolName, u32>,
    /// What GitHub last said of each pool's scale set.
    sets: HashMap<PoolName, Statistics>,
    /// Whose jobs each pool's runner group takes; everybody's, where that is not known.
    served: HashMap<PoolName, Served>,
    pub(super) queue: Queue,
    pub(super) runners: Runners,
}

impl Board {
    /// The pools as they are now.
    pub(super) fn set_pools(&mut self, pools: Vec<PoolSpec>) {
        if self.pools != pools {
            self.pools = pools;
        }
    }

    /// Most machines that each pool may have.
    pub(super) fn set_capacity(&mut self, capacity: BTreeMap<PoolName, u32>) {
        self.capacity = capacity;
    }

    /// A pool, by its name.
    pub(super) fn pool(&self, name: &PoolName) -> Option<&PoolSpec> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// What GitHub says of a pool's scale set.
    pub(super) fn set_statistics(&mut self, pool: &PoolName, statistics: Statistics) {
        self.sets.insert(pool.clone(), statistics);
    }

    /// Whose jobs a pool's runner group takes.
    pub(super) fn set_served(&mut self, pool: &PoolName, served: Served) {
        self.served.insert(pool.clone(), served);
    }

    /// What an audit that asked from `since` on saw waiting in a repository. Gives whether that is news. Each job that waits no
    /// more is one that a runner began, if one is ahead of GitHub's word.
    pub(super) fn audited(&mut self, repository: &Repository, seen: Vec<Waiting>, since: Timestamp) -> bool {
        let (changed, gone) = self.queue.audited(repository, seen, since);
        for job in &gone {
            for pool in &self.pools {
                if !has_set(pool) && self.fits(pool, job) && self.runners.caught_up(&pool.name) {
                    break;
                }
            }
        }
        changed
    }

    fn fits(&self, pool: &PoolSpec, job: &Waiting) -> bool {
        place::fits(pool, self.served.get(&pool.name), &job.repository, &job.labels)
    }

    /// Runners that each pool lacks now.
    pub(super) fn needs(&self, now: Instant) -> BTreeMap<PoolName, u32> {
        let placed = self.placed();
        let need = |pool: &PoolSpec| {
            let there = self.runners.covering(&pool.name, has_set(pool), now);
            let wanted = if has_set(pool) {
                self.sets.get(&pool.name).map_or(0, |statistics| statistics.assigned)
            } else {
                placed.get(&pool.name).map_or(0, |jobs| u32::try_from(jobs.len()).unwrap_or(u32::MAX))
            };
            (pool.name.clone(), wanted.saturating_sub(there))
        };
        self.pools.iter().map(need).collect()
    }

    /// Counts a machine of the pool as one of its runners from now on, if the pool lacks one. Gives since when the job has
    /// waited that it is for, as far as that is known.
    pub(super) fn claim(&mut self, pool: &PoolName, job: &JobId, now: Instant) -> Option<Claim> {
        if self.needs(now).get(pool).copied().unwrap_or(0) == 0 {
            return None;
        }
        let spec = self.pool(pool)?;
        let set = has_set(spec);
        let before = usize::try_from(self.runners.idle(pool)).unwrap_or(usize::MAX);
        let queued_at = if set {
            self.queue.assigned_to(pool).nth(before).and_then(|waiting| waiting.queued_at)
        } else {
            let placed = self.placed();
            let id = placed.get(pool).and_then(|jobs| jobs.get(before).copied());
            id.and_then(|id| self.queue.get(id)).and_then(|waiting| waiting.queued_at)
        };
        self.runners.insert(job.clone(), Runner::new(pool.clone(), now));
        Some(Claim { queued_at })
    }

    /// A machine that was claimed for the pool is no runner after all.
    pub(super) fn give_up(&mut self, job: &JobId) {
        self.runners.remove(job);
    }

    /// Jobs without a scale set, by the pool that is to serve them, those that waited longest first.
    fn placed(&self) -> HashMap<PoolName, Vec<u64>> {
        let room = |pool: &PoolSpec| {
            let capacity = self.capacity.get(&pool.name).copied().unwrap_or(pool.max_runners);
            // Runners that are there wait for jobs, whatever became of the pool meanwhile.
            capacity.saturating_sub(self.runners.busy(&pool.name)).max(self.runners.idle(&pool.name))
        };
        place::place(&self.pools, self.queue.waiting(), |pool, job| self.fits(pool, job), room)
    }

    /// Since when the first of the jobs that wait for a pool does.
    pub(super) fn oldest(&self) -> BTreeMap<PoolName, Timestamp> {
        let queue = &self.queue;
        let assigned = queue.all().filter_map(|(pool, waiting)| Some((pool?.clone(), waiting)));
        let placed = self.placed();
        let placed = placed.iter().flat_map(|(pool, jobs)| {
            jobs.iter().filter_map(|job| queue.get(*job)).map(|waiting| (pool.clone(), waiting))
        });
        oldest(assigned.chain(placed).map(|(pool, waiting)| (pool, waiting.since())))
    }

    /// Where each waiting job is to run, by whether it is a scale set's and its number.
    pub(super) fn places(&self) -> HashMap<(bool, u64), Place> {
        let mut places = HashMap::new();
        let mut line = |pool: &PoolName, set: bool, jobs: &mut dyn Iterator<Item = u64>| {
            let Some(spec) = self.pool(pool) else { return };
            for (ahead, id) in (0..).zip(jobs) {
                let place = Place::Pool { pool: pool.clone(), shape: spec.shape.clone(), ahead };
                places.insert((set, id), place);
            }
        };
        for pool in self.pools.iter().filter(|pool| has_set(pool)) {
            line(&pool.name, true, &mut self.queue.assigned_to(&pool.name).map(|waiting| waiting.id));
        }
        for (pool, jobs) in self.placed() {
            line(&pool, false, &mut jobs.into_iter());
        }
        places
    }

    /// Whether any pool of ours could run a job of this repository and these labels. What is for a scale set is told by the
    /// set alone.
    pub(super) fn is_ours(&self, repository: &str, labels: &[String]) -> bool {
        self.pools
            .iter()
            .any(|pool| !has_set(pool) && place::fits(pool, self.served.get(&pool.name), repository, labels))
    }

    /// Pools that such a job would be for, but for their runner group, which does not take jobs of this repository.
    pub(super) fn kept_from(&self, repository: &str, labels: &[String]) -> impl Iterator<Item = &PoolName> {
        let kept = move |pool: &&PoolSpec| {
            let served = self.served.get(&pool.name);
            !has_set(pool)
                && place::fits(pool, None, repository, labels)
                && !place::fits(pool, served, repository, labels)
        };
        self.pools.iter().filter(kept).map(|pool| &pool.name)
    }

    /// Runners that were there for a job and are not needed any more for at least `longest`: the job was cancelled, or
    /// another runner took it. Those that came last first.
    pub(super) fn surplus(&self, now: Instant, longest: Duration) -> Vec<JobId> {
        let placed = self.placed();
        let mut surplus = Vec::new();
        for pool in &self.pools {
            let jobs = if has_set(pool) {
                self.sets.get(&pool.name).map_or(0, |s| s.assigned.saturating_sub(s.running))
            } else {
                placed.get(&pool.name).map_or(0, |jobs| u32::try_from(jobs.len()).unwrap_or(u32::MAX))
            };
            surplus.extend(self.runners.idle_beyond(&pool.name, jobs, now, longest));
        }
        surplus
    }
}

/// A place among a pool's runners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// Since when the job has waited.
    pub(super) queued_at: Option<Timestamp>,
}

/// Whether a pool's jobs come through a scale set.
pub(super) fn has_set(pool: &PoolSpec) -> bool {
    pool.github.as_ref().is_some_and(|runner| runner.scale_set.is_some())
}
