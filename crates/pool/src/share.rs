//! For how many jobs of a forge each host of a cluster is to have runners.
//!
//! The forge counts its jobs once, those that wait and those that run, and hosts say which runners they have for them. What is left
//! has no runner yet: that is placed ([`place`]). So whatever was lost, doubled or late, the next look makes the sum right, and no
//! job has a runner twice: a host is told how many jobs are its own in all, not how many more.

use std::collections::BTreeMap;

use fireactions_model::{AssignedJobs, ClusterHost, PoolName, Shape};

use crate::place::{Place, Shares, Wanted, place};

/// A pool's jobs, by the forge's own count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The pool.
    pub pool: PoolName,
    /// What its jobs need.
    pub shape: Shape,
    /// Those that wait and those that run.
    pub jobs: u32,
}

/// A host, and what it does of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharer {
    /// What it has room for. What it is told to keep ([`Prepared::kept`](crate::Prepared::kept)) is set here.
    pub place: Place,
    /// Its runners.
    pub runners: BTreeMap<PoolName, Runners>,
    /// Runners that it was given to make and of which nothing was seen yet: it may have begun them.
    pub pending: BTreeMap<PoolName, u32>,
}

/// A host's runners of a pool that are there for jobs which the forge still counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runners {
    /// Without a job.
    pub idle: u32,
    /// With one.
    pub busy: u32,
}

impl Runners {
    /// All of them.
    pub const fn all(self) -> u32 {
        self.idle.saturating_add(self.busy)
    }
}

/// What each host is to have runners for, and what of it could be placed nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sharing {
    /// By host and pool; without what is nothing.
    pub given: BTreeMap<ClusterHost, BTreeMap<PoolName, AssignedJobs>>,
    /// Jobs without a host, by pool.
    pub unplaced: BTreeMap<PoolName, u32>,
}

/// Shares the jobs. Of two hosts with one name, the first counts.
pub fn share(counted: &[Counted], hosts: &[Sharer]) -> Sharing {
    let mut hosts: Vec<Sharer> = hosts.to_vec();
    let mut names = std::collections::BTreeSet::new();
    hosts.retain(|host| names.insert(host.place.host.clone()));
    let wanted: Vec<Wanted> = counted.iter().map(|counted| lacking(counted, &mut hosts)).collect();
    let places: Vec<Place> = hosts.iter().map(|host| host.place.clone()).collect();
    let shares = place(&wanted, &places);
    let mut sharing = Sharing::default();
    for (counted, wanted) in counted.iter().zip(&wanted) {
        let mut surplus = surplus(counted, &hosts);
        for host in &hosts {
            let runners = host.runners(&counted.pool);
            let new = placed(&shares, &host.place.host, wanted);
            let cut = surplus.remove(&host.place.host).unwrap_or(0);
            let jobs = AssignedJobs {
                all: runners.all().saturating_add(new).saturating_sub(cut),
                running: runners.busy,
                held_back: 0,
            };
            if jobs != AssignedJobs::default() {
                sharing.given.entry(host.place.host.clone()).or_default().insert(counted.pool.clone(), jobs);
            }
        }
        let given: u32 = hosts.iter().map(|host| placed(&shares, &host.place.host, wanted)).sum();
        let left = wanted.jobs.saturating_sub(given);
        if left > 0 {
            sharing.unplaced.insert(counted.pool.clone(), left);
        }
    }
    sharing
}

/// Jobs of the pool that have no runner. Each host is to keep those for which it may have begun a machine.
fn lacking(counted: &Counted, hosts: &mut [Sharer]) -> Wanted {
    let Counted { pool, shape, jobs } = counted;
    let covered = hosts.iter().map(|host| host.runners(pool).all()).fold(0, u32::saturating_add);
    for host in hosts {
        let kept = host.pending.get(pool).copied().unwrap_or(0);
        if let Some(its) = host.place.pools.get_mut(pool) {
            its.shapes.entry(shape.clone()).or_default().kept = kept;
        }
    }
    let (pool, shape) = (pool.clone(), shape.clone());
    Wanted { pool, shape, jobs: jobs.saturating_sub(covered), needs: fireactions_model::Labels::default() }
}

/// Idle runners that no job is there for, by host: from where most are.
fn surplus(counted: &Counted, hosts: &[Sharer]) -> BTreeMap<ClusterHost, u32> {
    let pool = &counted.pool;
    let covered = hosts.iter().map(|host| host.runners(pool).all()).fold(0, u32::saturating_add);
    let mut idle: Vec<(u32, &ClusterHost)> =
        hosts.iter().map(|host| (host.runners(pool).idle, &host.place.host)).collect();
    let mut cut = BTreeMap::new();
    for _ in 0..covered.saturating_sub(counted.jobs) {
        let Some(most) = idle.iter_mut().max().filter(|(idle, _)| *idle > 0) else { break };
        most.0 -= 1;
        *cut.entry(most.1.clone()).or_default() += 1;
    }
    cut
}

fn placed(shares: &Shares, host: &ClusterHost, wanted: &Wanted) -> u32 {
    let its = shares.get(host).and_then(|pools| pools.get(&wanted.pool));
    its.and_then(|demand| demand.get(&wanted.shape)).copied().unwrap_or(0)
}

impl Sharer {
    fn runners(&self, pool: &PoolName) -> Runners {
        self.runners.get(pool).copied().unwrap_or_default()
    }
}
