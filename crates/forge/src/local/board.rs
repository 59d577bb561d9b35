//! What the forge remembers of the jobs that are not final: the queue in order and who has what. The database
//! is the truth; the board hears of its every commit, in order, and makes looking cheap.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fireactions_model::{Demand, JobId, JobRecord, JobState, MachineId, Offer, Place, PoolName, PoolSpec};
use fireactions_store::{JobLog, Store};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::matching::Needs;
use crate::oldest::oldest;

#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: BTreeMap<u64, Waiting>,
    bound: HashMap<JobId, Bound>,
    /// Where in the queue a waiting job is.
    waiting: HashMap<JobId, u64>,
    /// The pools that demand was last asked for.
    pools: Vec<PoolSpec>,
}

#[derive(Debug)]
struct Waiting {
    id: JobId,
    needs: Needs,
    since: Timestamp,
    /// Where it belongs, once demand was asked for.
    place: Option<Place>,
    /// A machine is being bound to it right now.
    claimed: bool,
}

#[derive(Debug)]
struct Bound {
    machine: MachineId,
    /// It is a hosted forge's runner.
    remote: bool,
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

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn see(&self, seq: u64, job: &JobRecord, store: &Store) -> Seen {
        let mut state = self.state();
        if job.state == JobState::Queued {
            state.bound.remove(&job.id);
            let waiting = Waiting {
                id: job.id.clone(),
                needs: Needs::of(&job.spec),
                since: job.queued_at,
                place: None,
                claimed: false,
            };
            state.waiting.insert(job.id.clone(), seq);
            state.queue.insert(seq, waiting);
            return Seen::Queued;
        }
        let waited = state.queue.remove(&seq).is_some();
        state.waiting.remove(&job.id);
        let mut seen = if waited { Seen::Unqueued } else { Seen::Other };
        match &job.machine {
            Some(machine) if !job.state.is_final() => {
                if job.cancel_requested {
                    seen = Seen::Cancelling;
                }
                let log = store.log(&job.id);
                let remote = job.remote.is_some();
                let cancelling = job.cancel_requested;
                let bound = Bound { machine: machine.clone(), remote, cancelling, log };
                state.bound.insert(job.id.clone(), bound);
            }
            _ => {
                state.bound.remove(&job.id);
            }
        }
        seen
    }

    /// Claims the first waiting job that the offered machine fits, except those in `tried`.
    pub(super) fn claim<'a>(
        &'a self,
        offer: &Offer,
        tried: &HashSet<JobId>,
        freed: &'a Notify,
    ) -> Option<Claim<'a>> {
        let mut state = self.state();
        let (seq, waiting) = state.queue.iter_mut().find(|(_, waiting)| {
            !waiting.claimed && !tried.contains(&waiting.id) && waiting.needs.fit(&offer.pool, &offer.shape)
        })?;
        waiting.claimed = true;
        Some(Claim { board: self, seq: *seq, job: waiting.id.clone(), freed })
    }

    /// The log of a job that this machine has.
    pub(super) fn log_of(&self, job: &JobId, machine: &MachineId) -> Option<Arc<JobLog>> {
        let state = self.state();
        state.bound.get(job).filter(|bound| bound.machine == *machine).map(|bound| Arc::clone(&bound.log))
    }

    /// Whether a job that a machine has is a hosted forge's runner; nothing of one that no machine has.
    pub(super) fn is_remote(&self, job: &JobId) -> Option<bool> {
        self.state().bound.get(job).map(|bound| bound.remote)
    }

    pub(super) fn is_cancelling(&self, job: &JobId) -> bool {
        self.state().bound.get(job).is_some_and(|bound| bound.cancelling)
    }

    /// Demand by pool, and the jobs of which it became known or changed that no pool will do.
    pub(super) fn demand(&self, pools: &[PoolSpec]) -> (BTreeMap<PoolName, Demand>, Vec<JobId>) {
        let mut state = self.state();
        if state.pools != pools {
            state.pools = pools.to_vec();
        }
        let mut all: BTreeMap<PoolName, Demand> =
            pools.iter().map(|pool| (pool.name.clone(), Demand::new())).collect();
        let mut news = Vec::new();
        for waiting in state.queue.values_mut() {
            let place = match waiting.needs.choose(pools) {
                Ok(pool) => {
                    let shape = waiting.needs.shape(&pool.shape);
                    let jobs = all.entry(pool.name.clone()).or_default().entry(shape.clone()).or_default();
                    let ahead = *jobs;
                    *jobs += 1;
                    Place::Pool { pool: pool.name.clone(), shape, ahead }
                }
                Err(nowhere) => nowhere,
            };
            let lost = |place: &Place| matches!(place, Place::Nowhere { .. });
            let told = waiting.place.as_ref().filter(|place| lost(place));
            if told != Some(&place).filter(|place| lost(place)) {
                news.push(waiting.id.clone());
            }
            waiting.place = Some(place);
        }
        (all, news)
    }

    /// Since when the first of the jobs that wait for a pool does, of those that demand was asked for.
    pub(super) fn oldest(&self) -> BTreeMap<PoolName, Timestamp> {
        let state = self.state();
        oldest(state.queue.values().filter_map(|waiting| match &waiting.place {
            Some(Place::Pool { pool, .. }) => Some((pool.clone(), waiting.since)),
            _ => None,
        }))
    }

    /// Where a waiting job belongs, once demand was asked for at all.
    pub(super) fn place(&self, job: &JobId) -> Option<Place> {
        let state = self.state();
        let waiting = state.queue.get(state.waiting.get(job)?)?;
        if waiting.place.is_some() || state.pools.is_empty() {
            return waiting.place.clone();
        }
        // It came after demand was asked for. Its like that come before it are counted the next time.
        Some(match waiting.needs.choose(&state.pools) {
            Ok(pool) => Place::Pool {
                pool: pool.name.clone(),
                shape: waiting.needs.shape(&pool.shape),
                ahead: u32::MAX,
            },
            Err(nowhere) => nowhere,
        })
    }
}

/// A waiting job that one machine is being bound to; others look past it meanwhile.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    board: &'a Board,
    seq: u64,
    pub(super) job: JobId,
    freed: &'a Notify,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.board.state().queue.get_mut(&self.seq) {
            // Not bound after all: others may.
            waiting.claimed = false;
            self.freed.notify_waiters();
        }
    }
}
