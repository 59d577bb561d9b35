//! What the forge remembers of the jobs that are not final: the queue in order and who has what. The database
//! is the truth; the board hears of its every commit, in order, and makes looking cheap: what is asked time and again
//! costs by the kinds of jobs that wait, not by their number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fireactions_model::{
    Demand, ForgeName, JobId, JobRecord, JobState, MachineId, Offer, Place, PoolName, PoolSpec, Shape,
};
use fireactions_store::{JobLog, Store};
use jiff::Timestamp;

use super::matching::Needs;
use crate::oldest::oldest;
use crate::waiters::Waiters;

#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<State>,
    waiters: Waiters,
}

#[derive(Debug, Default)]
struct State {
    /// Waiting jobs by what they need of a machine.
    kinds: BTreeMap<Needs, Kind>,
    /// Where a waiting job is.
    waiting: HashMap<JobId, Waiting>,
    bound: HashMap<JobId, Bound>,
    /// The pools that demand was last asked for, once it was.
    pools: Option<Vec<PoolSpec>>,
    /// Jobs of which it became known or changed that no pool will do.
    news: Vec<JobId>,
}

/// Waiting jobs that need the same.
#[derive(Debug)]
struct Kind {
    /// Where they belong, once demand was asked for.
    target: Option<Target>,
    /// By place in the queue.
    jobs: BTreeMap<u64, Queued>,
    /// The same places, to count those before one.
    line: Vec<u64>,
}

#[derive(Debug)]
struct Queued {
    id: JobId,
    since: Timestamp,
    /// A machine is being bound to it right now.
    claimed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Pool(PoolName, Shape),
    Nowhere(Place),
}

#[derive(Debug)]
struct Waiting {
    seq: u64,
    needs: Needs,
}

/// Whose a job is.
#[derive(Debug, Clone)]
pub(super) enum Owner {
    /// The built-in queue's.
    Here,
    /// It is a runner of this hosted forge.
    Hosted(ForgeName),
}

#[derive(Debug)]
struct Bound {
    machine: MachineId,
    /// It is a hosted forge's runner.
    owner: Owner,
    cancelling: bool,
    /// Held open while output comes.
    log: Arc<JobLog>,
}

/// What a change meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The job waits now.
    Queued,
    /// The job waited and does not any more.
    Unqueued,
    /// Its machine is to end it.
    Cancelling,
    Other,
}

impl State {
    fn target(&self, needs: &Needs) -> Option<Target> {
        Some(match needs.choose(self.pools.as_ref()?) {
            Ok(pool) => Target::Pool(pool.name.clone(), needs.shape(&pool.shape)),
            Err(nowhere) => Target::Nowhere(nowhere),
        })
    }

    fn queue(&mut self, seq: u64, job: &JobRecord) {
        let needs = Needs::of(&job.spec);
        let target = self.target(&needs);
        let kind = self.kinds.entry(needs.clone()).or_insert_with(|| Kind {
            target,
            jobs: BTreeMap::new(),
            line: Vec::new(),
        });
        if matches!(kind.target, Some(Target::Nowhere(_))) {
            self.news.push(job.id.clone());
        }
        let queued = Queued { id: job.id.clone(), since: job.queued_at, claimed: false };
        if kind.jobs.insert(seq, queued).is_none() {
            // A retried job has its old place; all others come last.
            let place = kind.line.partition_point(|other| *other < seq);
            kind.line.insert(place, seq);
        }
        self.waiting.insert(job.id.clone(), Waiting { seq, needs });
    }

    /// True when the job waited.
    fn unqueue(&mut self, job: &JobId) -> bool {
        let Some(Waiting { seq, needs }) = self.waiting.remove(job) else { return false };
        if let Some(kind) = self.kinds.get_mut(&needs) {
            kind.jobs.remove(&seq);
            if let Ok(place) = kind.line.binary_search(&seq) {
                kind.line.remove(place);
            }
            if kind.jobs.is_empty() {
                self.kinds.remove(&needs);
            }
        }
        true
    }

    fn queued(&mut self, job: &JobId) -> Option<&mut Queued> {
        let Waiting { seq, needs } = self.waiting.get(job)?;
        self.kinds.get_mut(needs)?.jobs.get_mut(seq)
    }

    /// The pools are others: so is where jobs belong.
    fn aim(&mut self) {
        let targets: Vec<Option<Target>> = self.kinds.keys().map(|needs| self.target(needs)).collect();
        for (kind, target) in self.kinds.values_mut().zip(targets) {
            let lost = |target: &Option<Target>| match target {
                Some(Target::Nowhere(place)) => Some(place.clone()),
                _ => None,
            };
            if lost(&kind.target) != lost(&target) {
                self.news.extend(kind.jobs.values().map(|job| job.id.clone()));
            }
            kind.target = target;
        }
    }
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Machines that wait, of every forge.
    pub(super) const fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    pub(super) fn see(&self, seq: u64, job: &JobRecord, store: &Store) -> Seen {
        let mut state = self.state();
        if job.state == JobState::Queued {
            state.bound.remove(&job.id);
            state.queue(seq, job);
            drop(state);
            self.rouse(&Needs::of(&job.spec));
            return Seen::Queued;
        }
        let mut seen = if state.unqueue(&job.id) { Seen::Unqueued } else { Seen::Other };
        match &job.machine {
            Some(machine) if !job.state.is_final() => {
                if job.cancel_requested {
                    seen = Seen::Cancelling;
                }
                let log = store.log(&job.id);
                let remote = job.remote.as_ref();
                let owner = remote.map_or(Owner::Here, |remote| Owner::Hosted(remote.forge.clone()));
                let cancelling = job.cancel_requested;
                let bound = Bound { machine: machine.clone(), owner, cancelling, log };
                state.bound.insert(job.id.clone(), bound);
            }
            _ => {
                state.bound.remove(&job.id);
            }
        }
        seen
    }

    /// Wakes a machine for a job that needs this.
    fn rouse(&self, needs: &Needs) {
        self.waiters.wake_for(|pool, shape| pool.forge.is_none() && needs.fit(pool, shape));
    }

    /// Claims the first waiting job that the offered machine fits, except those in `tried`.
    pub(super) fn claim(&self, offer: &Offer, tried: &HashSet<JobId>) -> Option<Claim<'_>> {
        let mut state = self.state();
        let free = |kind: &Kind| {
            let mut jobs = kind.jobs.iter();
            jobs.find(|(_, job)| !job.claimed && !tried.contains(&job.id))
                .map(|(seq, job)| (*seq, job.id.clone()))
        };
        let fitting = state.kinds.iter().filter(|(needs, _)| needs.fit(&offer.pool, &offer.shape));
        let (_, job) = fitting.filter_map(|(_, kind)| free(kind)).min()?;
        state.queued(&job)?.claimed = true;
        Some(Claim { board: self, job })
    }

    /// The log of a job that this machine has.
    pub(super) fn log_of(&self, job: &JobId, machine: &MachineId) -> Option<Arc<JobLog>> {
        let state = self.state();
        state.bound.get(job).filter(|bound| bound.machine == *machine).map(|bound| Arc::clone(&bound.log))
    }

    /// Whose a job is that a machine has; nothing of a job that no machine has.
    pub(super) fn owner(&self, job: &JobId) -> Option<Owner> {
        self.state().bound.get(job).map(|bound| bound.owner.clone())
    }

    pub(super) fn is_cancelling(&self, job: &JobId) -> bool {
        self.state().bound.get(job).is_some_and(|bound| bound.cancelling)
    }

    /// Demand by pool, and the jobs of which it became known or changed that no pool will do.
    pub(super) fn demand(&self, pools: &[PoolSpec]) -> (BTreeMap<PoolName, Demand>, Vec<JobId>) {
        let mut state = self.state();
        if state.pools.as_deref() != Some(pools) {
            state.pools = Some(pools.to_vec());
            state.aim();
        }
        let mut all: BTreeMap<PoolName, Demand> =
            pools.iter().map(|pool| (pool.name.clone(), Demand::new())).collect();
        for kind in state.kinds.values() {
            if let Some(Target::Pool(pool, shape)) = &kind.target {
                let jobs = all.entry(pool.clone()).or_default().entry(shape.clone()).or_default();
                *jobs = jobs.saturating_add(u32::try_from(kind.jobs.len()).unwrap_or(u32::MAX));
            }
        }
        (all, std::mem::take(&mut state.news))
    }

    /// Since when the first of the jobs that wait for a pool does, of those that demand was asked for.
    pub(super) fn oldest(&self) -> BTreeMap<PoolName, Timestamp> {
        let state = self.state();
        oldest(state.kinds.values().filter_map(|kind| match &kind.target {
            Some(Target::Pool(pool, _)) => {
                Some((pool.clone(), kind.jobs.values().map(|job| job.since).min()?))
            }
            _ => None,
        }))
    }

    /// Where a waiting job belongs, once demand was asked for at all.
    pub(super) fn place(&self, job: &JobId) -> Option<Place> {
        let state = self.state();
        let Waiting { seq, needs } = state.waiting.get(job)?;
        let target = state.kinds.get(needs)?.target.as_ref()?;
        let Target::Pool(pool, shape) = target else {
            let Target::Nowhere(place) = target else { return None };
            return Some(place.clone());
        };
        let same = state.kinds.values().filter(|kind| kind.target.as_ref() == Some(target));
        let ahead: usize = same.map(|kind| kind.line.partition_point(|other| other < seq)).sum();
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        Some(Place::Pool { pool: pool.clone(), shape: shape.clone(), ahead })
    }
}

/// A waiting job that one machine is being bound to; others look past it meanwhile.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    board: &'a Board,
    pub(super) job: JobId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut state = self.board.state();
        let Some(queued) = state.queued(&self.job) else { return };
        // Not bound after all: others may.
        queued.claimed = false;
        let needs = state.waiting.get(&self.job).map(|waiting| waiting.needs.clone());
        drop(state);
        if let Some(needs) = needs {
            self.board.rouse(&needs);
        }
    }
}
