//! The embedded forge: a durable job queue of our own, for hosts without any other forge and for `fireactions
//! run`.
//!
//! What it promises:
//! - A submitted job is on the disk with its files before `submit` returns.
//! - A job is bound to one machine at a time and a machine gets one job in its life; both are rules of the
//!   database, not only of this code.
//! - A job that ended by itself is never run again. A job whose machine died is queued again, in its old place,
//!   while the retry policy leaves it attempts (one retry by default); the record's `attempt` and `reason`, and
//!   a line in its log, say so. So a job may have run in part more than once: at least once, never lost.
//! - A job goes to the pool with the smallest label set that holds all of its labels, the first configured among
//!   equals; but any ready machine that fits may take it, in the order of submission.

mod board;
mod config;
mod error;
mod follow;
mod matching;
mod serve;
mod submit;

use std::sync::{Arc, Weak};

use fireactions_model::{
    Event, ForgeName, ForgeView, JobId, JobRecord, JobState, Outcome, Phase, Place, Report, Usage,
};
use fireactions_store::{JobFilter, Store, StoreError};
use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};

pub use config::LocalConfig;
pub use error::SubmitError;
pub use submit::{FileSource, Submission};

use crate::waiters::Waiters;
use board::{Board, Owner, Seen};
pub(crate) use serve::refused;

/// The local forge. Clones share it.
#[derive(Debug, Clone)]
pub struct LocalForge {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    events: broadcast::Sender<Event>,
    config: LocalConfig,
    board: Board,
    /// Demand may have changed.
    demand: Notify,
    /// Somebody asked for the end of a job that has a machine.
    cancel: Notify,
}

impl LocalForge {
    /// Starts the forge on a store: its queue is as it was left. Call `recover` once the server knows which
    /// machines it still has.
    pub async fn new(
        store: Store,
        events: broadcast::Sender<Event>,
        config: LocalConfig,
    ) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner {
            store,
            events,
            config,
            board: Board::default(),
            demand: Notify::new(),
            cancel: Notify::new(),
        });
        // Weak: the store's thread must not keep the forge, which keeps the store.
        let weak = Arc::downgrade(&inner);
        inner.store.observe_jobs(Arc::new(move |change| hear(&weak, change.seq, &change.job))).await?;
        Ok(Self { inner })
    }

    /// One job as it stands.
    pub async fn get(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
        self.inner.store.job(id).await
    }

    /// Jobs, newest first.
    pub async fn list(&self, filter: JobFilter) -> Result<Vec<JobRecord>, StoreError> {
        self.inner.store.jobs(filter).await
    }

    /// Asks for a job's end. A queued job is final when this returns; one with a machine ends soon after; a
    /// final one stays as it is.
    pub async fn cancel(&self, id: &JobId) -> Result<JobRecord, StoreError> {
        self.inner.store.request_cancel(id, "cancelled by a user").await
    }

    /// The hosted forge whose runner the job is; its row is kept here.
    pub(crate) async fn remote_of(&self, job: &JobId) -> Option<ForgeName> {
        match self.inner.board.owner(job) {
            Some(Owner::Here) => None,
            Some(Owner::Hosted(forge)) => Some(forge),
            None => self.get(job).await.ok()??.remote.map(|remote| remote.forge),
        }
    }

    /// Where the rows are.
    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Machines that wait for work, of every forge.
    pub(crate) fn waiters(&self) -> &Waiters {
        self.inner.board.waiters()
    }

    /// As metrics see it, now.
    pub fn view(&self) -> ForgeView {
        ForgeView { name: ForgeName::local(), oldest: self.inner.board.oldest(), remote: None }
    }

    /// Where a queued job belongs, once demand was asked for. What keeps its pool from it, the forge does not know.
    pub fn place(&self, id: &JobId) -> Option<Place> {
        self.inner.board.place(id)
    }

    /// Ends the attempts of jobs whose machine has no row any more, as lost. For the start, after machines were
    /// reconciled. Returns the jobs concerned as they stand then.
    pub async fn recover(&self) -> Result<Vec<JobRecord>, StoreError> {
        let store = &self.inner.store;
        let machines = store.machines().await?;
        let mut recovered = Vec::new();
        for job in store.bound_jobs().await? {
            let Some(machine) = &job.machine else { continue };
            if machines.iter().any(|row| row.id == *machine) {
                continue;
            }
            let reason = format!("machine {machine} was gone when the server started");
            let report = Report {
                outcome: Outcome::Lost { reason },
                usage: Usage::default(),
                phases: job.phases.clone(),
                notes: Vec::new(),
                autopsy: None,
            };
            let end = store.finish_job(&job.id, machine, &report, self.inner.config.retry).await?;
            tracing::warn!(job = %job.id, %machine, state = %end.job().state, "job recovered from a lost machine");
            recovered.push(end.job().clone());
        }
        Ok(recovered)
    }

    /// Forgets final jobs with their logs and files, as old or as many as the configuration says. Returns how
    /// many. For a timer of the server's, e.g. once a minute.
    pub async fn purge(&self) -> Result<usize, StoreError> {
        let config = &self.inner.config;
        // A time before all times keeps everything.
        let before = Timestamp::now().checked_sub(config.keep).unwrap_or(Timestamp::MIN);
        let mut all = 0;
        loop {
            let gone = self.inner.store.purge_jobs(before, config.keep_jobs).await?.len();
            all += gone;
            if gone == 0 {
                return Ok(all);
            }
        }
    }
}

/// Hears of a committed change, on the store's thread: keeps the board, wakes who waits, tells the world.
fn hear(inner: &Weak<Inner>, seq: u64, job: &JobRecord) {
    let Some(inner) = inner.upgrade() else { return };
    let seen = inner.board.see(seq, job, &inner.store);
    match seen {
        Seen::Queued | Seen::Unqueued => inner.demand.notify_one(),
        Seen::Cancelling => inner.cancel.notify_waiters(),
        Seen::Other => {}
    }
    if seen == Seen::Unqueued
        && job.state == JobState::Assigned
        && let (Some(pool), Some(micros)) = (&job.pool, job.phases.get(&Phase::Queued))
    {
        let phase = Event::Phase { pool: pool.clone(), phase: Phase::Queued, micros: *micros };
        let _ = inner.events.send(phase);
    }
    // Nobody listening is fine.
    let _ = inner.events.send(Event::Job { job: Box::new(job.brief()) });
    inner.store.wake_log(&job.id);
}
