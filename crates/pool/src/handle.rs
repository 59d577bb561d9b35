//! What operators see of the pools, and what they may change while the server runs.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::{
    Backoff, Demand, Drained, HostBudget, HostView, MachineId, MachineView, Machines, PoolName, PoolOverride,
    PoolSpec, PoolView, Room, Shape,
};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::backoff::Failures;
use crate::{Budget, Held, Line, Obstacle, Pace};

/// Longest wait for what was decided before a change: a look takes less.
const SETTLE: Duration = Duration::from_secs(30);
/// Largest maximum that an operator may set.
const MAX_SCALE: u32 = 65_536;

/// Keeps what operators changed over restarts. The binary implements it with the store.
#[async_trait]
pub trait Overrides: Send + Sync {
    /// Returns once it is durable. The error is for people.
    async fn save(&self, pool: &PoolName, changed: &PoolOverride) -> Result<(), String>;

    /// Drains the host for this reason, or with `None` lets it take work again. Returns, once it is durable, how the
    /// host stands then: one that was drained before keeps its time. The error is for people.
    async fn save_drain(&self, why: Option<&str>) -> Result<Option<Drained>, String>;
}

/// Keeps nothing: for tests, and for servers without a store.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOverrides;

#[async_trait]
impl Overrides for NoOverrides {
    async fn save(&self, _: &PoolName, _: &PoolOverride) -> Result<(), String> {
        Ok(())
    }

    async fn save_drain(&self, why: Option<&str>) -> Result<Option<Drained>, String> {
        Ok(why.map(|why| Drained { since: Timestamp::now(), why: why.to_owned() }))
    }
}

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No such pool.
    #[error("there is no pool '{0}'; `fireactions pools list` shows all")]
    Unknown(PoolName),
    /// Impossible numbers.
    #[error("cannot scale pool '{pool}' to {min}..{max}: {rule}")]
    Scale {
        /// Which pool.
        pool: PoolName,
        /// Wanted minimum.
        min: u32,
        /// Wanted maximum.
        max: u32,
        /// What they break.
        rule: &'static str,
    },
    /// The change could not be made durable, and was not made.
    #[error("the change to pool '{0}' could not be saved and was not made: {1}")]
    Save(PoolName, String),
    /// The host could not be drained or undrained durably, and stands as it did.
    #[error("the change to the host could not be saved and was not made: {0}")]
    SaveDrain(String),
    /// The host is drained, and what was decided before is still being done.
    #[error(
        "the host is drained, but a machine that was decided on earlier may still be created: the last \
         decision is not carried out after {SETTLE:?}; `fireactions machines list` shows what there is"
    )]
    Unsettled,
}

/// One pool's changing state.
pub(crate) struct Entry {
    pub(crate) spec: PoolSpec,
    pub(crate) changed: PoolOverride,
    /// Of machines of the pool's own shape.
    pub(crate) failures: Failures,
    /// Machines that had failed before the first look: those that an earlier server left held have cost their wait.
    before: Option<HashSet<MachineId>>,
    /// Of machines of shapes that only jobs ask for. A job that names an image that does not exist holds up its
    /// like, not the pool.
    pub(crate) asked: BTreeMap<Shape, Failures>,
    pub(crate) queued: u32,
    pub(crate) waiting_for: Option<String>,
    /// Its waiting jobs, as the last look left them.
    pub(crate) lines: BTreeMap<Shape, Line>,
}

impl Entry {
    /// The failures that a machine of this shape counts to.
    pub(crate) fn failures_of(&mut self, shape: &Shape) -> &mut Failures {
        if *shape == self.spec.shape {
            &mut self.failures
        } else {
            self.asked.entry(shape.clone()).or_default()
        }
    }

    /// When the waits after failures are over.
    pub(crate) fn pauses(&self) -> impl Iterator<Item = Instant> {
        self.failures.until().into_iter().chain(self.asked.values().filter_map(Failures::until))
    }

    /// Says what failed where the pool itself is well, and only what some jobs ask for is not.
    pub(crate) fn asked_backoff(&self, why: Obstacle) -> Option<String> {
        if why != Obstacle::Backoff || self.failures.backoff().is_some() {
            return None;
        }
        let mut failing =
            self.asked.iter().filter_map(|(shape, failures)| Some((shape, failures.backoff()?)));
        let (shape, backoff) = failing.next()?;
        Some(format!("jobs that ask for image '{}' wait: {}", shape.image, backoff.reason))
    }

    /// Takes in the pool's machines as they are now, and says which shapes have to wait.
    pub(crate) fn judge(
        &mut self,
        views: &[Arc<MachineView>],
        demand: &Demand,
        now: Instant,
    ) -> BTreeMap<Shape, Pace> {
        let name = self.spec.name.clone();
        let all = views.iter().map(AsRef::as_ref);
        let mut of_pool: Vec<&MachineView> = all.filter(|view: &&MachineView| view.pool == name).collect();
        let failed =
            || of_pool.iter().filter(|view| view.failure.is_some()).map(|view| view.id.clone()).collect();
        let before = self.before.get_or_insert_with(failed);
        of_pool.retain(|view| !before.contains(&view.id));
        let mine = of_pool.iter().copied();
        let own_shape = self.spec.shape.clone();
        let own = mine.clone().filter(|view| view.shape == own_shape);
        self.failures.observe(own, now, rand::random());
        for view in mine.clone().filter(|view| view.failure.is_some()) {
            self.failures_of(&view.shape);
        }
        // What nobody asks for any more and no machine has is forgotten.
        self.asked
            .retain(|shape, _| demand.contains_key(shape) || mine.clone().any(|view| view.shape == *shape));
        for (shape, failures) in &mut self.asked {
            failures.observe(mine.clone().filter(|view| view.shape == *shape), now, rand::random());
        }
        let asked = self.asked.iter().map(|(shape, failures)| (shape, failures.pace(now)));
        let all = std::iter::once((&self.spec.shape, self.failures.pace(now))).chain(asked);
        all.filter(|(_, pace)| *pace != Pace::Free).map(|(shape, pace)| (shape.clone(), pace)).collect()
    }

    pub(crate) fn scale(&self) -> (u32, u32) {
        self.changed.scale.unwrap_or((self.spec.min_runners, self.spec.max_runners))
    }
}

/// Shared between the loop and the handles.
pub(crate) struct Shared {
    entries: Mutex<Vec<Entry>>,
    /// Set while the host is drained.
    drained: Mutex<Option<Drained>>,
    /// What held machines take of the host, as of the last look.
    held: Mutex<Held>,
    /// Wakes the loop.
    pub(crate) changed: Arc<Notify>,
    pub(crate) machines: Arc<dyn Machines>,
    pub(crate) overrides: Arc<dyn Overrides>,
    pub(crate) budget: Budget,
    /// One change at a time, so that what is saved last is what holds.
    changing: tokio::sync::Mutex<()>,
    /// Held while one look's actions are done.
    pub(crate) acting: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(crate) fn new(
        machines: Arc<dyn Machines>,
        pools: Vec<PoolSpec>,
        saved: &BTreeMap<PoolName, PoolOverride>,
        overrides: Arc<dyn Overrides>,
        budget: Budget,
    ) -> Self {
        let entries = pools
            .into_iter()
            .map(|spec| Entry {
                changed: saved.get(&spec.name).copied().unwrap_or_default(),
                spec,
                failures: Failures::default(),
                before: None,
                asked: BTreeMap::new(),
                queued: 0,
                waiting_for: None,
                lines: BTreeMap::new(),
            })
            .collect();
        Self {
            entries: Mutex::new(entries),
            drained: Mutex::new(None),
            held: Mutex::new(Held::default()),
            changed: Arc::new(Notify::new()),
            machines,
            overrides,
            budget,
            changing: tokio::sync::Mutex::new(()),
            acting: tokio::sync::Mutex::new(()),
        }
    }

    /// Plain data, whole at every moment: a panic elsewhere does not spoil it.
    pub(crate) fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same.
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same.
    pub(crate) fn drained(&self) -> MutexGuard<'_, Option<Drained>> {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What jobs of one shape have to expect of their pool: as of the last look, which is a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Set while the host is drained.
    pub drained: Option<Drained>,
    /// An operator paused the pool.
    pub paused: bool,
    /// Most machines of the pool.
    pub max: u32,
    /// The jobs that wait.
    pub line: Line,
    /// Set while machines of this shape fail.
    pub backoff: Option<Backoff>,
    /// What held machines take of the host.
    pub held: Held,
}

/// The operators' side of the pools. Cheap to clone.
#[derive(Clone)]
pub struct PoolHandle {
    pub(crate) shared: Arc<Shared>,
}

impl PoolHandle {
    /// All pools, in the configuration's order.
    pub fn list(&self) -> Vec<PoolView> {
        let machines = self.shared.machines.views();
        let host_drained = self.shared.drained().is_some();
        self.shared
            .entries()
            .iter()
            .map(|entry| {
                let mut counts = BTreeMap::new();
                for machine in machines.iter().filter(|machine| machine.pool == entry.spec.name) {
                    *counts.entry(machine.state).or_insert(0) += 1;
                }
                let (min_runners, max_runners) = entry.scale();
                PoolView {
                    spec: entry.spec.clone(),
                    paused: entry.changed.paused,
                    host_drained,
                    min_runners,
                    max_runners,
                    machines: counts,
                    queued: entry.queued,
                    backoff: entry.failures.backoff(),
                    waiting_for: entry.waiting_for.clone(),
                    problem: None,
                }
            })
            .collect()
    }

    /// What jobs of this pool and shape have to expect; nothing of a pool that is not there.
    pub fn outlook(&self, pool: &PoolName, shape: &Shape) -> Option<Outlook> {
        let (drained, held) = (self.shared.drained().clone(), *self.shared.held());
        let entries = self.shared.entries();
        let entry = entries.iter().find(|entry| entry.spec.name == *pool)?;
        let own = *shape == entry.spec.shape;
        let failures = if own { Some(&entry.failures) } else { entry.asked.get(shape) };
        Some(Outlook {
            drained,
            paused: entry.changed.paused,
            max: entry.scale().1,
            line: entry.lines.get(shape).cloned().unwrap_or_default(),
            backoff: failures.and_then(Failures::backoff),
            held,
        })
    }

    /// One pool.
    pub fn show(&self, pool: &PoolName) -> Result<PoolView, PoolError> {
        self.list()
            .into_iter()
            .find(|view| view.spec.name == *pool)
            .ok_or_else(|| PoolError::Unknown(pool.clone()))
    }

    /// Makes no more machines for a pool and removes its idle ones. Running jobs finish. Durable.
    pub async fn pause(&self, pool: &PoolName) -> Result<PoolView, PoolError> {
        self.change(pool, |changed| changed.paused = true).await
    }

    /// Takes a pause back, and forgets the pool's failures. Durable.
    pub async fn resume(&self, pool: &PoolName) -> Result<PoolView, PoolError> {
        let (handle, pool) = (self.clone(), pool.clone());
        whole(async move {
            handle.change_here(&pool, |changed| changed.paused = false).await?;
            if let Some(entry) = handle.shared.entries().iter_mut().find(|entry| entry.spec.name == pool) {
                entry.failures.reset();
                entry.asked.clear();
            }
            handle.shared.changed.notify_one();
            handle.show(&pool)
        })
        .await
    }

    /// Replaces a pool's minimum and maximum; `None` goes back to the configuration's. Durable.
    pub async fn scale(&self, pool: &PoolName, scale: Option<(u32, u32)>) -> Result<PoolView, PoolError> {
        if let Some((min, max)) = scale {
            let rule = if min > max {
                "the minimum is above the maximum"
            } else if max > MAX_SCALE {
                "the maximum is above 65536"
            } else {
                ""
            };
            if !rule.is_empty() {
                return Err(PoolError::Scale { pool: pool.clone(), min, max, rule });
            }
        }
        self.change(pool, move |changed| changed.scale = scale).await
    }

    /// The host as a whole. Of its budget, that which is the pools': processors and memory.
    pub fn host(&self) -> HostView {
        let views = self.shared.machines.views();
        let mut machines = BTreeMap::new();
        for machine in &views {
            *machines.entry(machine.state).or_insert(0) += 1;
        }
        let [vcpus, memory_mib] = self.shared.budget.taken(views.iter().map(|machine| &machine.shape));
        let budget = HostBudget { vcpus, memory_mib, ..HostBudget::default() };
        HostView { drained: self.shared.drained().clone(), machines, budget }
    }

    /// What machines that are not idle leave of the host.
    pub fn room(&self) -> Room {
        let views = self.shared.machines.views();
        let stays = views.iter().filter(|machine| !machine.state.is_idle_capacity());
        self.shared.budget.room(stays.map(|machine| &machine.shape))
    }

    /// Drains the host: it makes no machines and removes idle ones; running jobs finish. With `None` it takes work
    /// again. Durable; draining a drained host changes the reason only.
    pub async fn drain(&self, why: Option<&str>) -> Result<HostView, PoolError> {
        let (handle, why) = (self.clone(), why.map(str::to_owned));
        whole(async move { handle.drain_here(why.as_deref()).await }).await
    }

    async fn drain_here(&self, why: Option<&str>) -> Result<HostView, PoolError> {
        let _one_at_a_time = self.shared.changing.lock().await;
        let drained = self.shared.overrides.save_drain(why).await.map_err(PoolError::SaveDrain)?;
        let changed = {
            let mut now = self.shared.drained();
            let changed = now.is_some() != drained.is_some();
            *now = drained;
            changed
        };
        if changed {
            tracing::info!(
                drained = why.is_some(),
                why = why.unwrap_or_default(),
                "host changed by an operator"
            );
        }
        self.shared.changed.notify_one();
        if why.is_some() {
            // What was decided before is done first: once this returns, no machine is begun.
            let done = tokio::time::timeout(SETTLE, self.shared.acting.lock()).await;
            drop(done.map_err(|_| PoolError::Unsettled)?);
        }
        Ok(self.host())
    }

    async fn change(
        &self,
        pool: &PoolName,
        edit: impl FnOnce(&mut PoolOverride) + Send + 'static,
    ) -> Result<PoolView, PoolError> {
        let (handle, pool) = (self.clone(), pool.clone());
        whole(async move { handle.change_here(&pool, edit).await }).await
    }

    async fn change_here(
        &self,
        pool: &PoolName,
        edit: impl FnOnce(&mut PoolOverride) + Send,
    ) -> Result<PoolView, PoolError> {
        let _one_at_a_time = self.shared.changing.lock().await;
        let mut changed = self
            .shared
            .entries()
            .iter()
            .find(|entry| entry.spec.name == *pool)
            .map(|entry| entry.changed)
            .ok_or_else(|| PoolError::Unknown(pool.clone()))?;
        edit(&mut changed);
        let saved = self.shared.overrides.save(pool, &changed).await;
        saved.map_err(|why| PoolError::Save(pool.clone(), why))?;
        if let Some(entry) = self.shared.entries().iter_mut().find(|entry| entry.spec.name == *pool) {
            entry.changed = changed;
        }
        tracing::info!(%pool, paused = changed.paused, scale = ?changed.scale, "pool changed by an operator");
        self.shared.changed.notify_one();
        self.show(pool)
    }
}

/// Makes a change to its end, also where whoever asked for it does not wait: what is durable is in force.
async fn whole<T: Send + 'static>(change: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(change).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and whoever waits with it.
        Err(Err(_)) => std::future::pending().await,
    }
}
