//! What waits at the forge, and what of ours is there for it. Signals put in what they know, in any order and more than
//! once; every question is answered from all of it. Plain data, no IO, no clock of its own.
//!
//! A pool's runners are wanted by one of four counts, never by two ([`Counting`]): what the forge itself has assigned to
//! it, the queued jobs that were heard of, each placed in one pool, the share of such jobs that a host of a cluster was given, or,
//! where none of it can be known, the runners that the configuration keeps ready.
//!
//! Runners that are there are taken off. The forge decides which job a runner gets, so runners and jobs are counted, not
//! paired.

mod place;
mod queue;
mod runners;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fireactions_model::{AssignedJobs, ForgeReport, JobId, Place, PoolName, PoolReport, PoolSpec, RemoteJob};
use jiff::Timestamp;

use crate::oldest::oldest;

pub(crate) use queue::{Queue, Waiting, Wants, describe};
pub(crate) use runners::{Runner, Runners, Stage};

/// How long a runner may be ahead of what its forge says of it: it has begun or ended a job that the forge's count, or the
/// webhook, do not tell yet. Then the forge's word counts.
pub(crate) const AHEAD: Duration = Duration::from_secs(60);

/// By what a pool's runners are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counting {
    /// By the jobs that were heard of (webhook, queue), each placed in one pool.
    Placed,
    /// By the forge's own count of what it has assigned to the pool: GitHub's scale sets.
    Assigned,
    /// By the host's share of the jobs that were heard of, where several hosts have them. No forge's rules say so.
    Given,
    /// By the configuration: nothing tells of jobs, so as many runners wait for them.
    Standing(u32),
}

/// The forge's rules, as far as the board needs them. Quick, and without IO.
pub(crate) trait Rules: Send + Sync {
    /// Whether a runner of the pool would be given a job that wants this. Asked of pools whose jobs are placed.
    fn fits(&self, pool: &PoolSpec, wants: &Wants<'_>) -> bool;

    /// By what the pool's runners are wanted.
    fn counting(&self, pool: &PoolSpec) -> Counting;

    /// How far the forge's lists may be behind what it says otherwise: what was heard of so short a time before a list was
    /// asked for may be missing there.
    fn behind(&self) -> Duration;
}

/// Numbers of jobs, by the pool that is to serve them.
pub(crate) type Placed = HashMap<PoolName, Vec<u64>>;

/// All of it.
pub(crate) struct Board {
    rules: Arc<dyn Rules>,
    /// The pools that demand was last asked for: this forge's alone, in the configuration's order.
    pools: Vec<PoolSpec>,
    /// Most machines of each pool; its configured maximum, when absent.
    capacity: BTreeMap<PoolName, u32>,
    /// What the forge last said of pools whose jobs it counts itself, or what was given of those that are placed elsewhere.
    assigned: HashMap<PoolName, AssignedJobs>,
    /// Jobs that are heard of are placed elsewhere, for several hosts.
    has_share: bool,
    /// The revision of what was given.
    taken: Option<u64>,
    /// Runners that are a part of what was given. One that has ended since is none that is lacking.
    counted: BTreeMap<PoolName, BTreeSet<String>>,
    /// Pools for whose jobs the forge was asked.
    asked: HashSet<PoolName>,
    pub(crate) queue: Queue,
    pub(crate) runners: Runners,
}

impl Board {
    /// Nothing is known yet.
    pub(crate) fn new(rules: Arc<dyn Rules>) -> Self {
        Self {
            rules,
            pools: Vec::new(),
            capacity: BTreeMap::new(),
            assigned: HashMap::new(),
            has_share: false,
            taken: None,
            counted: BTreeMap::new(),
            asked: HashSet::new(),
            queue: Queue::default(),
            runners: Runners::default(),
        }
    }

    /// Nothing is known yet, and what the host is to have runners for is its share of what another board has heard.
    pub(crate) fn of_share(rules: Arc<dyn Rules>) -> Self {
        Self { has_share: true, ..Self::new(rules) }
    }

    fn counting(&self, pool: &PoolSpec) -> Counting {
        match self.rules.counting(pool) {
            Counting::Placed if self.has_share => Counting::Given,
            counting => counting,
        }
    }

    /// The pools as they are now.
    pub(crate) fn set_pools(&mut self, pools: Vec<PoolSpec>) {
        if self.pools != pools {
            self.pools = pools;
        }
    }

    /// Most machines that each pool may have.
    pub(crate) fn set_capacity(&mut self, capacity: BTreeMap<PoolName, u32>) {
        self.capacity = capacity;
    }

    /// A pool, by its name.
    pub(crate) fn pool(&self, name: &PoolName) -> Option<&PoolSpec> {
        self.pools.iter().find(|pool| pool.name == *name)
    }

    /// The pools' names.
    pub(crate) fn names(&self) -> Vec<PoolName> {
        self.pools.iter().map(|pool| pool.name.clone()).collect()
    }

    /// The forge has just been asked, from `asked` on, for all jobs of the pool that wait.
    pub(crate) fn asked(&mut self, pool: &PoolName, asked: Instant) {
        let given = self.pool(pool).is_some_and(|pool| self.counting(pool) == Counting::Given);
        self.runners.audited(pool, asked, self.rules.behind(), given);
        if !self.asked.contains(pool) {
            self.asked.insert(pool.clone());
        }
    }

    /// What the forge says of the jobs that it has assigned to a pool, or what the host was given. False when that is no news.
    pub(crate) fn set_assigned(&mut self, pool: &PoolName, assigned: AssignedJobs) -> bool {
        self.assigned.insert(pool.clone(), assigned).unwrap_or_default() != assigned
    }

    /// What was given has this revision, and counts these runners.
    pub(crate) fn set_taken(&mut self, revision: Option<u64>, counted: BTreeMap<PoolName, BTreeSet<String>>) {
        self.taken = revision;
        for names in counted.values() {
            self.runners.counted(names);
        }
        self.counted = counted;
    }

    /// The forge tells this host itself that a runner began its job, or ended it. Gives whether that counts by now
    /// ([`Runners::told`]).
    pub(crate) fn told(&mut self, job: &JobId) -> bool {
        let pool = self.runners.get(job).map(|runner| runner.pool.clone());
        let given = pool.and_then(|pool| Some(self.counting(self.pool(&pool)?) == Counting::Given));
        given != Some(true) || self.runners.told(job)
    }

    /// The forge says that a runner, of whichever host, has begun a job, so that is none that waits any more.
    pub(crate) fn runner_began(&mut self, name: &str, now: Instant) {
        if let Some(row) = self.runners.named(name).cloned() {
            self.runners.began(&row, true, now);
        }
    }

    /// What was seen waiting when the forge was asked, from `since` on, for all jobs that `asked` is true of. Gives whether
    /// that is news. Each job that waits no more is one that a runner began, if one is ahead of the forge's word.
    pub(crate) fn audited(
        &mut self,
        asked: impl Fn(&Waiting) -> bool,
        seen: Vec<Waiting>,
        since: Instant,
    ) -> bool {
        let (changed, gone) = self.queue.audited(asked, seen, since, self.rules.behind());
        for job in &gone {
            for pool in &self.pools {
                if self.fits(pool, &job.wants()) && self.runners.caught_up(&pool.name) {
                    break;
                }
            }
        }
        changed
    }

    fn is_placed(&self, pool: &PoolSpec) -> bool {
        self.counting(pool) == Counting::Placed
    }

    fn fits(&self, pool: &PoolSpec, wants: &Wants<'_>) -> bool {
        self.is_placed(pool) && self.rules.fits(pool, wants)
    }

    /// The jobs of each pool, those that wait ([`placed`](Self::placed)) and those that runners have: as the forge counts them, or by what
    /// was heard of. Without pools of which nothing was said yet.
    pub(crate) fn counted(&self, placed: &Placed, now: Instant) -> BTreeMap<PoolName, AssignedJobs> {
        let mut all: BTreeMap<PoolName, AssignedJobs> =
            self.assigned.iter().map(|(pool, assigned)| (pool.clone(), *assigned)).collect();
        for PoolSpec { name, .. } in self.placing().filter(|pool| self.asked.contains(&pool.name)) {
            let waiting = count(placed.get(name).map_or(0, Vec::len));
            let waiting = waiting.saturating_sub(self.runners.ahead(name, now));
            let running = self.runners.busy(name);
            let jobs = AssignedJobs { all: waiting.saturating_add(running), running, held_back: 0 };
            all.insert(name.clone(), jobs);
        }
        all
    }

    /// The jobs that are placed, those that waited longest first: of each pool as many as it may have machines.
    pub(crate) fn to_give(&self, placed: &Placed) -> BTreeMap<PoolName, Vec<RemoteJob>> {
        let of_pool = |(pool, jobs): (&PoolName, &Vec<u64>)| {
            let most = self.capacity.get(pool).map_or(0, |most| usize::try_from(*most).unwrap_or(usize::MAX));
            let jobs = jobs.iter().filter_map(|id| self.queue.get(*id)).take(most);
            let jobs: Vec<RemoteJob> = jobs.map(|waiting| waiting.remote.clone()).collect();
            (pool.clone(), jobs)
        };
        placed.iter().map(of_pool).collect()
    }

    /// The runners that are there for jobs which still count, of pools whose jobs several hosts can share.
    pub(crate) fn report(&self, now: Instant) -> ForgeReport {
        let report = |pool: &PoolSpec| {
            let counting = self.counting(pool);
            if !matches!(counting, Counting::Assigned | Counting::Given) {
                return None;
            }
            let capacity = self.capacity.get(&pool.name).copied().unwrap_or(pool.max_runners);
            let (runners, unnamed) = self.runners.by_name(&pool.name, counting, now);
            Some((pool.name.clone(), PoolReport { capacity, runners, unnamed }))
        };
        ForgeReport { pools: self.pools.iter().filter_map(report).collect(), taken: self.taken }
    }

    /// Runners that each pool lacks now.
    pub(crate) fn needs(&self, now: Instant) -> BTreeMap<PoolName, u32> {
        let placed = self.placed();
        self.pools.iter().map(|pool| (pool.name.clone(), self.need(pool, &placed, now))).collect()
    }

    fn need(&self, pool: &PoolSpec, placed: &Placed, now: Instant) -> u32 {
        let name = &pool.name;
        let counting = self.counting(pool);
        let wanted = match counting {
            Counting::Assigned | Counting::Given => {
                self.assigned.get(name).map_or(0, |assigned| assigned.all)
            }
            Counting::Placed => count(placed.get(name).map_or(0, Vec::len)),
            Counting::Standing(ready) => ready.min(self.room(pool)),
        };
        let gone = self.counted.get(name).filter(|_| counting == Counting::Given);
        let gone = gone.map_or(0, |counted| self.runners.not_covering(counted, counting, now));
        wanted.saturating_sub(self.runners.covering(name, counting, now)).saturating_sub(gone)
    }

    /// Counts a machine of the pool as one of its runners from now on, if the pool lacks one. Gives the
    /// job that it is for, as far as that is known.
    pub(crate) fn claim(&mut self, pool: &PoolName, job: &JobId, now: Instant) -> Option<Claim> {
        let spec = self.pool(pool)?;
        let placed = self.placed();
        if self.need(spec, &placed, now) == 0 {
            return None;
        }
        let waiting = match self.counting(spec) {
            Counting::Assigned => {
                let before = usize::try_from(self.runners.idle(pool)).unwrap_or(usize::MAX);
                self.queue.assigned_to(pool).nth(before)
            }
            Counting::Placed => {
                let jobs = placed.get(pool).map(Vec::as_slice).unwrap_or_default();
                jobs.iter().find(|id| !self.runners.is_for(**id)).and_then(|id| self.queue.get(*id))
            }
            Counting::Given => self.queue.assigned_to(pool).find(|waiting| !self.runners.is_for(waiting.id)),
            Counting::Standing(_) => None,
        };
        let waiting = waiting.cloned();
        let mut runner = Runner::new(pool.clone(), now);
        runner.job = waiting.as_ref().map(|waiting| waiting.id);
        self.runners.insert(job.clone(), runner);
        Some(Claim { waiting })
    }

    /// A machine that was claimed for the pool is no runner after all.
    pub(crate) fn give_up(&mut self, job: &JobId) {
        self.runners.remove(job);
    }

    /// Machines that the pool has, or may have, for jobs that wait.
    fn room(&self, pool: &PoolSpec) -> u32 {
        let capacity = self.capacity.get(&pool.name).copied().unwrap_or(pool.max_runners);
        // Runners that are there wait for jobs, whatever became of the pool meanwhile.
        capacity.saturating_sub(self.runners.busy(&pool.name)).max(self.runners.idle(&pool.name))
    }

    /// Pools in which jobs that are heard of are placed.
    fn placing(&self) -> impl Iterator<Item = &PoolSpec> {
        self.pools.iter().filter(|pool| self.is_placed(pool))
    }

    /// Jobs that are placed, by the pool that is to serve them, those that waited longest first.
    pub(crate) fn placed(&self) -> Placed {
        place::place(
            self.placing(),
            self.queue.waiting(),
            |pool, wants| self.rules.fits(pool, wants),
            |pool| self.room(pool),
        )
    }

    /// Since when the first of the jobs that wait for a pool does.
    pub(crate) fn oldest(&self) -> BTreeMap<PoolName, Timestamp> {
        let queue = &self.queue;
        let assigned = queue.all().filter_map(|(pool, waiting)| Some((pool?.clone(), waiting)));
        let placed = self.placed();
        let placed = placed.iter().flat_map(|(pool, jobs)| {
            jobs.iter().filter_map(|job| queue.get(*job)).map(|waiting| (pool.clone(), waiting))
        });
        oldest(assigned.chain(placed).map(|(pool, waiting)| (pool, waiting.since())))
    }

    /// Where each waiting job is to run, by whether the forge has assigned it and its number.
    pub(crate) fn places(&self) -> HashMap<(bool, u64), Place> {
        let mut places = HashMap::new();
        let mut line = |pool: &PoolName, assigned: bool, jobs: &mut dyn Iterator<Item = u64>| {
            let Some(spec) = self.pool(pool) else { return };
            for (ahead, id) in (0..).zip(jobs) {
                let place = Place::Pool { pool: pool.clone(), shape: spec.shape.clone(), ahead };
                places.insert((assigned, id), place);
            }
        };
        for pool in self.pools.iter().filter(|pool| self.counting(pool) == Counting::Assigned) {
            line(&pool.name, true, &mut self.queue.assigned_to(&pool.name).map(|waiting| waiting.id));
        }
        for (pool, jobs) in self.placed() {
            line(&pool, false, &mut jobs.into_iter());
        }
        places
    }

    /// Whether any pool of ours could run the job. What the forge assigns to a pool, it tells itself.
    pub(crate) fn is_ours(&self, job: &Waiting) -> bool {
        self.pools.iter().any(|pool| self.fits(pool, &job.wants()))
    }

    /// Runners that were there for a job and are not needed any more for at least `longest`: the job was cancelled, or
    /// another runner took it. Those that came last first.
    pub(crate) fn surplus(&self, now: Instant, longest: Duration) -> Vec<JobId> {
        let placed = self.placed();
        let mut surplus = Vec::new();
        for pool in &self.pools {
            let jobs = match self.counting(pool) {
                Counting::Assigned | Counting::Given => {
                    self.assigned.get(&pool.name).map_or(0, |jobs| jobs.all.saturating_sub(jobs.running))
                }
                Counting::Placed => count(placed.get(&pool.name).map_or(0, Vec::len)),
                Counting::Standing(ready) => ready,
            };
            surplus.extend(self.runners.idle_beyond(&pool.name, jobs, now, longest));
        }
        surplus
    }
}

/// A place among a pool's runners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The job that it is for, as far as that is known. The forge may give it another.
    pub(crate) waiting: Option<Waiting>,
}

fn count(jobs: usize) -> u32 {
    u32::try_from(jobs).unwrap_or(u32::MAX)
}
