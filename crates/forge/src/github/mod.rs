//! GitHub Actions: machines become just-in-time runners, each for one job.
//!
//! ```text
//!  signals: scale set's message queue, webhook, audit ─▶ board ─▶ demand ─▶ pool makes machines
//!  a ready machine: acquire ─▶ claim ─▶ row with the runner's name ─▶ JIT configuration ─▶ program
//!  runner: idle ─▶ busy ─▶ over, by scale set messages, webhook and its own output, whichever is first
//! ```
//!
//! What it promises:
//! - A machine is registered as late as can be: when a job waits for it. So no credential gets old, and GitHub never
//!   sees a machine that is not there.
//! - The runner's name is on the disk before GitHub hears it, and its row stays until GitHub has it no more; a crash leaves
//!   no runner without an owner.
//! - A credential is for one machine and one start. It is forgotten when the program runs.
//! - Counts are levels: whatever signal is lost, doubled or late, the next statistics or audit make them right.
//!
//! Rows, output and cancelling are those of every job: [`LocalForge`] keeps them.

mod audit;
mod board;
mod deregister;
mod drift;
mod error;
mod groups;
mod problems;
mod program;
mod register;
mod scale_set;
mod serve;
mod settings;
mod signs;
mod view;
mod webhook;
mod webhook_secrets;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fireactions_github::Github;
use fireactions_github::scaleset::{ScaleSetId, ScaleSets};
use fireactions_model::{Event, GithubScope, JobId, JobRecord, PoolName, PoolSpec};
use fireactions_store::{Store, StoreError};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::local::LocalForge;
use board::{Board, Runner, Stage};
use error::Error;
use problems::Problems;
use signs::Signs;

pub use settings::{GithubSettings, WebhookSecrets};
pub use webhook::{Answer, Delivery, MAX_DELIVERY};

/// The forge's name in records, logs and metrics.
pub(crate) const NAME: &str = "github";

/// How long tasks have to say good-bye to GitHub at the end.
const FAREWELL: Duration = Duration::from_secs(10);

/// The GitHub forge. Clones share it.
#[derive(Clone)]
pub struct GithubForge {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    records: LocalForge,
    github: Github,
    settings: GithubSettings,
    webhook_secrets: Option<webhook_secrets::Kept>,
    events: broadcast::Sender<Event>,
    /// Tells this server's runners from another host's.
    key: String,
    board: Mutex<Board>,
    /// Most machines of each pool.
    capacity: watch::Sender<BTreeMap<PoolName, u32>>,
    /// Scale sets that there are and that have a session.
    sets: Mutex<HashMap<PoolName, OpenSet>>,
    /// What is wrong with a pool's runners, for people.
    problems: Problems,
    /// What runners say, until they end.
    signs: Mutex<HashMap<JobId, Signs>>,
    /// Runners that are to end because no job is there for them.
    ending: Mutex<HashSet<JobId>>,
    groups: register::Groups,
    deliveries: webhook::Intake,
    counts: view::Counts,
    /// Demand may have changed.
    demand: Notify,
    /// A runner is to end.
    ended: Notify,
    /// A runner has ended that GitHub may still have.
    leftover: Notify,
}

/// A scale set whose messages are listened to.
#[derive(Clone)]
struct OpenSet {
    sets: ScaleSets,
    id: ScaleSetId,
}

impl GithubForge {
    /// Starts the forge with the runners that an earlier server left. `records` keeps the rows; `pools` are all pools of
    /// the configuration. Nothing is asked of GitHub before [`GithubForge::run`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn new(
        store: Store,
        records: LocalForge,
        events: broadcast::Sender<Event>,
        github: Github,
        settings: GithubSettings,
        pools: &[PoolSpec],
    ) -> Result<Self, StoreError> {
        let key = store.runner_key(&register::fresh_key()).await?;
        let mut board = Board::default();
        board.set_pools(ours(pools));
        let now = Instant::now();
        for record in store.bound_jobs().await? {
            if let (Some(remote), Some(pool)) = (&record.remote, &record.pool) {
                let mut runner = Runner::new(pool.clone(), now);
                runner.name.clone_from(&remote.runner);
                if remote.is_picked_up() {
                    runner.stage = Stage::Busy { known: true, since: now };
                }
                board.runners.insert(record.id.clone(), runner);
            }
        }
        let inner = Inner {
            store,
            records,
            github,
            webhook_secrets: settings.webhook.clone().map(webhook_secrets::Kept::new),
            settings,
            events,
            key,
            board: Mutex::new(board),
            capacity: watch::Sender::default(),
            sets: Mutex::default(),
            problems: Problems::default(),
            signs: Mutex::default(),
            ending: Mutex::default(),
            groups: register::Groups::default(),
            deliveries: webhook::Intake::default(),
            counts: view::Counts::default(),
            demand: Notify::new(),
            ended: Notify::new(),
            leftover: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Listens to GitHub and keeps its runners in order until `stop`; then lets go of sessions and returns.
    pub async fn run(self, pools: Vec<PoolSpec>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for pool in ours(&pools).into_iter().filter(board::has_set) {
            tasks.spawn(scale_set::listen(self.clone(), pool, stop.clone()));
        }
        tasks.spawn(deregister::run(self.clone(), stop.clone()));
        for scope in scopes(&pools) {
            tasks.spawn(audit::run(self.clone(), scope, pools.clone(), stop.clone()));
        }
        tasks.spawn(webhook::apply(self.clone(), stop.clone()));
        tasks.spawn(board_clock(self.clone(), stop.clone()));
        stop.cancelled().await;
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::warn!(
                "GitHub was not told in {FAREWELL:?} that this server stops listening; it finds out by itself"
            );
        }
    }

    /// The rows of these runners were ended by others than their machines.
    pub(crate) fn lost<'a>(&self, jobs: impl Iterator<Item = &'a JobId>) {
        let now = Instant::now();
        for job in jobs {
            self.board().runners.ended(job, false, now);
        }
        self.inner.leftover.notify_one();
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.inner.board)
    }

    /// Something on the board changed: machines look for work, as many as lack, and the pools look again.
    fn wake(&self) {
        let needs = self.board().needs(Instant::now());
        self.rouse(&needs);
        self.inner.demand.notify_one();
    }

    fn rouse(&self, needs: &BTreeMap<PoolName, u32>) {
        for (pool, count) in needs.iter().filter(|(_, count)| **count > 0) {
            self.inner.records.waiters().wake_of_pool(pool, *count);
        }
    }
}

/// Whether the row is a runner of this forge.
fn is_ours(job: &JobRecord) -> bool {
    job.remote.as_ref().is_some_and(|remote| remote.forge == NAME)
}

/// A lock whose holder never panics, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pools whose runners are GitHub's.
fn ours(pools: &[PoolSpec]) -> Vec<PoolSpec> {
    pools.iter().filter(|pool| pool.github.is_some()).cloned().collect()
}

/// Where runners are registered.
fn scopes(pools: &[PoolSpec]) -> std::collections::BTreeSet<GithubScope> {
    pools.iter().filter_map(|pool| pool.github.as_ref()).map(|runner| runner.scope.clone()).collect()
}

/// Time alone changes what the board says (a runner that was ahead of GitHub's word, one that nobody needs): it is looked
/// at again now and then.
async fn board_clock(forge: GithubForge, stop: CancellationToken) {
    let every = forge.inner.settings.pace * 5;
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        let now = Instant::now();
        forge.board().runners.forget(now);
        forge.end_surplus(now).await;
        forge.inner.demand.notify_one();
    }
}
