//! Hosted forges: machines become runners of a forge elsewhere, each for one job.
//!
//! ```text
//!  signals: webhook, the forge's own count, audit ─▶ board ─▶ demand ─▶ pool makes machines
//!  a ready machine: acquire ─▶ claim ─▶ row with the runner's name ─▶ registration ─▶ program
//!  runner: idle ─▶ busy ─▶ over, by the forge's word and its own output, whichever is first
//! ```
//!
//! What it promises:
//! - A machine is registered as late as can be: when a job waits for it. So no credential gets old, and the forge never
//!   sees a machine that is not there.
//! - The runner's name is on the disk before the forge hears it, and its row stays until the forge has it no more; a crash
//!   leaves no runner without an owner.
//! - A credential is for one machine and one start. It is forgotten when the program runs.
//! - Counts are levels: whatever signal is lost, doubled or late, the next count or audit makes them right.
//!
//! What differs from forge to forge is behind [`Remote`]. Rows, output and cancelling are those of every job:
//! [`LocalForge`] keeps them.

mod audit;
mod authorities;
pub(crate) mod board;
mod caches;
mod claim;
mod delivery;
mod deregister;
pub(crate) mod error;
mod names;
pub(crate) mod problems;
mod register;
pub(crate) mod remote;
mod serve;
mod settings;
mod shared;
pub(crate) mod signs;
mod view;
mod webhook;
mod webhook_secrets;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fireactions_model::{Cancel, Event, ExponentialBackoff, ForgeName, JobId, JobRecord, PoolName, PoolSpec};
use fireactions_store::{Store, StoreError};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::local::LocalForge;
use board::{Board, Runner, Stage};
use problems::Problems;
use remote::Remote;
use signs::Signs;

pub use delivery::{Delivery, MAX_DELIVERY};
pub use names::runner_key;
pub use settings::{HostedSettings, WebhookSecrets};
pub use shared::{Earlier, Heard, Presence};
pub use webhook::Answer;

/// How long tasks have to say good-bye to the forge at the end.
const FAREWELL: Duration = Duration::from_secs(10);

/// The longest pause between two tries to let runners go that no job needs, in looks at them.
const LONGEST: u32 = 60;

/// A hosted forge. Clones share it.
#[derive(Clone)]
pub struct HostedForge {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) name: ForgeName,
    pub(crate) remote: Arc<dyn Remote>,
    pub(crate) store: Store,
    records: LocalForge,
    pub(crate) settings: HostedSettings,
    webhook_secrets: Option<webhook_secrets::Kept>,
    events: broadcast::Sender<Event>,
    /// Tells this server's runners from another host's.
    pub(crate) key: String,
    board: Mutex<Board>,
    /// Other hosts have its jobs, too.
    shared: Option<shared::Shared>,
    /// Most machines of each pool on this host.
    capacity: watch::Sender<BTreeMap<PoolName, u32>>,
    /// What is wrong with a pool's runners, for people.
    problems: Problems,
    /// What runners say, until they end.
    signs: Mutex<HashMap<JobId, Signs>>,
    /// Runners whose machine is to end: no job is there for them, or theirs has ended.
    ending: Mutex<HashMap<JobId, Cancel>>,
    /// Runners whose job has left the forge, about which the forge is being asked.
    settling: Mutex<HashSet<JobId>>,
    /// Runners about whose job's cause the forge is being asked.
    asking: Mutex<HashSet<JobId>>,
    deliveries: webhook::Intake,
    counts: view::Counts,
    /// Demand may have changed.
    demand: Notify,
    /// A runner is to end.
    ended: Notify,
    /// A runner has ended that the forge may still have.
    leftover: Notify,
}

impl HostedForge {
    /// Starts the forge with the runners that an earlier server left. `records` keeps the rows; `pools` are all pools of
    /// the configuration. Nothing is asked of the forge before [`HostedForge::run`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn new(
        name: ForgeName,
        remote: Arc<dyn Remote>,
        records: LocalForge,
        events: broadcast::Sender<Event>,
        settings: HostedSettings,
        pools: &[PoolSpec],
    ) -> Result<Self, StoreError> {
        let store = records.store().clone();
        let key = store.runner_key(&names::fresh_key()).await?;
        let (new, ours) = (if settings.shared { Board::of_share } else { Board::new }, of(&name, pools));
        let mut board = new(remote.rules());
        board.set_pools(ours.clone());
        let now = Instant::now();
        for record in store.bound_jobs().await?.iter().filter(|record| is_of(&name, record)) {
            if let (Some(remote), Some(pool)) = (&record.remote, &record.pool) {
                let mut runner = Runner::new(pool.clone(), now);
                runner.name.clone_from(&remote.runner);
                if remote.is_picked_up() {
                    runner.stage = Stage::Busy { known: true, since: now };
                }
                board.runners.insert(record.id.clone(), runner);
            }
        }
        let shared = settings.shared.then(|| {
            let mut heard = Board::new(remote.rules());
            heard.set_pools(ours);
            shared::Shared::new(heard)
        });
        let inner = Inner {
            shared,
            name,
            remote,
            store,
            records,
            webhook_secrets: settings.webhook.clone().map(webhook_secrets::Kept::new),
            settings,
            events,
            key,
            board: Mutex::new(board),
            capacity: watch::Sender::default(),
            problems: Problems::default(),
            signs: Mutex::default(),
            ending: Mutex::default(),
            settling: Mutex::default(),
            asking: Mutex::default(),
            deliveries: webhook::Intake::default(),
            counts: view::Counts::default(),
            demand: Notify::new(),
            ended: Notify::new(),
            leftover: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Keeps the forge's runners in order until `stop`, and listens to the forge unless another host does that for this one; then lets
    /// go of it and returns.
    pub async fn run(self, pools: Vec<PoolSpec>, stop: CancellationToken) {
        let pools = of(&self.inner.name, &pools);
        let mut tasks = JoinSet::new();
        if !self.is_shared() || self.inner.remote.listens_on_each_host() {
            for listener in self.inner.remote.listeners(&self, &pools, &stop) {
                tasks.spawn(listener);
            }
        }
        tasks.spawn(deregister::run(self.clone(), stop.clone()));
        let scopes: BTreeSet<String> =
            pools.iter().filter_map(|pool| self.inner.remote.scope(pool)).collect();
        for scope in scopes {
            tasks.spawn(audit::run(self.clone(), scope, pools.clone(), stop.clone()));
        }
        tasks.spawn(webhook::apply(self.clone(), stop.clone()));
        tasks.spawn(board_clock(self.clone(), stop.clone()));
        stop.cancelled().await;
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            let forge = &self.inner.name;
            tracing::warn!(%forge, "the forge could not be informed within {FAREWELL:?} that this server stops; it will notice by itself");
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &ForgeName {
        &self.inner.name
    }

    /// The rows of these runners were ended by others than their machines.
    pub(crate) fn lost<'a>(&self, jobs: impl Iterator<Item = &'a JobId>) {
        let now = Instant::now();
        for job in jobs {
            self.board().runners.ended(job, false, now);
        }
        self.inner.leftover.notify_one();
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.inner.board)
    }

    /// What the forge has said of its jobs: to this host alone, or as the one that listens for all.
    pub(crate) fn heard(&self) -> MutexGuard<'_, Board> {
        lock(self.inner.shared.as_ref().map_or(&self.inner.board, shared::Shared::heard))
    }

    /// Whether what the forge says comes to this host.
    pub(crate) fn listens(&self) -> bool {
        self.inner.shared.as_ref().is_none_or(shared::Shared::leads)
    }

    /// Most machines of each pool, on all hosts that have the forge's jobs.
    pub(crate) fn capacity(&self) -> watch::Receiver<BTreeMap<PoolName, u32>> {
        self.inner.shared.as_ref().map_or(&self.inner.capacity, shared::Shared::capacity).subscribe()
    }

    /// The machine of a runner that has one is to end.
    pub(crate) fn end(&self, job: &JobId, why: Cancel) {
        lock(&self.inner.ending).insert(job.clone(), why);
        self.inner.ended.notify_waiters();
    }

    /// The forge is about to be asked what became of the runner's job. False when it is already, or was.
    pub(crate) fn settle(&self, job: &JobId) -> bool {
        lock(&self.inner.settling).insert(job.clone())
    }

    /// The job is still there: it may have to be asked for again.
    pub(crate) fn unsettle(&self, job: &JobId) {
        lock(&self.inner.settling).remove(job);
    }

    /// Something on the board changed: machines look for work, as many as lack, and the pools look again.
    pub(crate) fn wake(&self) {
        let needs = self.board().needs(Instant::now());
        self.rouse(&needs);
        self.inner.demand.notify_one();
        if let Some(shared) = &self.inner.shared {
            shared.wake();
        }
    }

    fn rouse(&self, needs: &BTreeMap<PoolName, u32>) {
        for (pool, count) in needs.iter().filter(|(_, count)| **count > 0) {
            self.inner.records.waiters().wake_of_pool(pool, *count);
        }
    }
}

/// Whether the row is a runner of this forge.
fn is_of(forge: &ForgeName, job: &JobRecord) -> bool {
    job.remote.as_ref().is_some_and(|remote| remote.forge == *forge)
}

/// A lock whose holder never panics, so a poisoned one is as good as any.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pools whose runners are this forge's.
fn of(forge: &ForgeName, pools: &[PoolSpec]) -> Vec<PoolSpec> {
    let is_its = |pool: &&PoolSpec| pool.forge.as_ref().is_some_and(|its| its.name == *forge);
    pools.iter().filter(is_its).cloned().collect()
}

/// Time alone changes what the board says (a runner that was ahead of the forge's word, one that nobody needs): it is looked
/// at again now and then.
async fn board_clock(forge: HostedForge, stop: CancellationToken) {
    let every = forge.inner.settings.pace * 5;
    let mut pauses = ExponentialBackoff::new(every, every * LONGEST);
    // Before then the forge is not asked to let runners go.
    let mut patience = Instant::now();
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        let now = Instant::now();
        forge.board().runners.forget(now);
        if now >= patience {
            match stop.run_until_cancelled(forge.end_surplus(now)).await {
                None => return,
                Some(Ok(())) => pauses.succeeded(),
                Some(Err(error)) => {
                    let pause = pauses.failed(rand::random()).max(error.retry_after().unwrap_or_default());
                    patience = Instant::now() + pause;
                }
            }
        }
        forge.inner.demand.notify_one();
    }
}
