//! The loop around the decision.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::{
    CreateError, DemandSource, Drained, MachineId, MachineState, MachineView, Machines, NewMachine, PoolName,
    PoolOverride, PoolSpec, RetireError, Shape,
};
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::ages::Ages;
use crate::handle::{Entry, NoOverrides, Overrides, PoolHandle, Shared};
use crate::observed::{Machine, Observed, Pool};
use crate::sources::Sources;
use crate::{Action, Budget, Plan, Timing, Why, plan};

/// Machines that are begun, or asked to go, at a time.
const AT_ONCE: usize = 64;

/// How the loop ends.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// The server stops: idle machines go.
    pub stop: CancellationToken,
    /// Another server takes over: everything stays as it is.
    pub freeze: CancellationToken,
}

impl Ends {
    fn come(&self) -> bool {
        self.stop.is_cancelled() || self.freeze.is_cancelled()
    }

    async fn wait(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.freeze.cancelled() => {}
        }
    }
}

/// Sees to it that the pools have the machines they should.
pub struct Controller {
    shared: Arc<Shared>,
    timing: Timing,
    sources: Sources,
    ages: Ages,
    /// Machines that were asked to go and still look idle: their views are behind.
    leaving: HashSet<MachineId>,
    /// Those of them that have not answered yet.
    retiring: FuturesUnordered<BoxFuture<'static, (MachineId, bool)>>,
    /// Since when jobs of a pool and shape get no machine.
    hungry: BTreeMap<(PoolName, Shape), Instant>,
    /// How long the last look observed and planned.
    busy: Duration,
    ends: Ends,
}

impl Controller {
    /// A controller of these pools, whose jobs come from these forges. Nothing happens before [`run`](Self::run).
    pub fn new(
        forges: Vec<Arc<dyn DemandSource>>,
        machines: Arc<dyn Machines>,
        pools: Vec<PoolSpec>,
        budget: Budget,
    ) -> Self {
        let shared = Shared::new(machines, pools, &BTreeMap::new(), Arc::new(NoOverrides), budget);
        let timing = Timing::default();
        Self {
            shared: Arc::new(shared),
            timing,
            sources: Sources::new(forges, timing),
            ages: Ages::default(),
            leaving: HashSet::new(),
            retiring: FuturesUnordered::new(),
            hungry: BTreeMap::new(),
            busy: Duration::ZERO,
            ends: Ends::default(),
        }
    }

    /// Starts with what operators changed before, and keeps what they change. Handles taken before are void.
    #[must_use]
    pub fn with_overrides(
        mut self,
        saved: &BTreeMap<PoolName, PoolOverride>,
        overrides: Arc<dyn Overrides>,
    ) -> Self {
        let pools = self.specs();
        self.shared =
            Arc::new(Shared::new(self.shared.machines.clone(), pools, saved, overrides, self.shared.budget));
        self
    }

    /// Starts with a host that was drained before.
    #[must_use]
    pub fn with_drained(self, drained: Option<Drained>) -> Self {
        *self.shared.drained() = drained;
        self
    }

    /// Uses other times.
    #[must_use]
    pub fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self.sources.set_timing(timing);
        self
    }

    /// The operators' side.
    pub fn handle(&self) -> PoolHandle {
        PoolHandle { shared: self.shared.clone() }
    }

    fn specs(&self) -> Vec<PoolSpec> {
        self.shared.entries().iter().map(|entry| entry.spec.clone()).collect()
    }

    /// The same with as many machines as an operator wants now.
    fn scaled_specs(&self) -> Vec<PoolSpec> {
        let scaled = |entry: &Entry| {
            let (min_runners, max_runners) = entry.scale();
            PoolSpec { min_runners, max_runners, ..entry.spec.clone() }
        };
        self.shared.entries().iter().map(scaled).collect()
    }

    /// Maximum number of machines of each pool, as it is now.
    fn capacity(&self) -> BTreeMap<PoolName, u32> {
        let closed = self.shared.drained().is_some();
        let of = |entry: &Entry| if closed || entry.changed.paused { 0 } else { entry.scale().1 };
        self.shared.entries().iter().map(|entry| (entry.spec.name.clone(), of(entry))).collect()
    }

    /// Runs until one of the ends. At a stop it lets every idle machine go and returns without waiting for the busy ones; at
    /// a freeze it returns once it has done what it decided last.
    pub async fn run(mut self, ends: Ends) {
        self.ends = ends.clone();
        let shared = self.shared.clone();
        let machines = shared.machines.clone();
        let mut machines_changed = machines.changed();
        while !ends.come() {
            let again = self.look().await;
            let earliest = Instant::now() + self.timing.gap_after(self.busy);
            loop {
                tokio::select! {
                    () = ends.wait() => break,
                    () = self.sources.changed() => break,
                    () = &mut machines_changed => {
                        machines_changed = machines.changed();
                        break;
                    }
                    () = shared.changed.notified() => break,
                    () = sleep_until(again) => break,
                    Some((machine, goes)) = self.retiring.next() => self.answered(&machine, goes),
                }
            }
            tokio::select! {
                () = ends.wait() => break,
                () = sleep_until(earliest) => {}
            }
        }
        if !ends.freeze.is_cancelled() {
            self.drain().await;
        }
    }

    /// One look and what follows from it. Returns when to look again at the latest.
    async fn look(&mut self) -> Instant {
        let specs = self.scaled_specs();
        // Machines first: a job that is bound in between is then counted as served by a machine that looks
        // idle, and the change wakes us again. The other way round it would get a second machine.
        let began = Instant::now();
        let views = self.shared.machines.views();
        self.busy = began.elapsed();
        self.sources.set_capacity(&self.capacity());
        self.sources.refresh(&specs, &self.shared.changed).await;
        let shared = Arc::clone(&self.shared);
        let _acting = shared.acting.lock().await;
        let now = Instant::now();
        let observed = self.observe(&views, now);
        let mut plan = plan(&observed);
        self.publish(&mut plan);
        self.busy += now.elapsed();
        let before = std::mem::take(&mut self.hungry);
        self.hungry = plan.hungry.iter().map(|key| (key.clone(), *before.get(key).unwrap_or(&now))).collect();
        self.shared.machines.spare(plan.spare);
        self.act(plan.actions, &views).await;
        self.next_look(&observed, plan.surplus_in, now)
    }

    /// Begins machines, all at once, and asks others to go, without waiting for their answers.
    async fn act(&mut self, actions: Vec<Action>, views: &[Arc<MachineView>]) {
        let mut new = Vec::new();
        for action in actions {
            match action {
                Action::Create { pool, shape } => new.push(NewMachine { pool, shape }),
                Action::Retire { machine, why } => {
                    if self.leaving.insert(machine.clone()) {
                        self.retiring.push(retire(self.shared.clone(), self.timing, machine, why).boxed());
                    }
                }
            }
        }
        let until = Instant::now() + self.timing.act_deadline;
        let (shared, ends) = (Arc::clone(&self.shared), self.ends.clone());
        let begun = stream::iter(new).map(|new| shared.create(new, until, &ends)).buffered(AT_ONCE);
        let mut created = pin!(begun.collect::<Vec<_>>());
        let refusals = loop {
            tokio::select! {
                refusals = &mut created => break refusals,
                Some((machine, goes)) = self.retiring.next() => self.answered(&machine, goes),
            }
        };
        for refusal in refusals.into_iter().flatten() {
            self.shared.refused(&refusal, views);
        }
    }

    /// A machine that was asked to go has answered. One that stays got a job in the meantime, or is gone: the next look sees
    /// it as it is.
    fn answered(&mut self, machine: &MachineId, goes: bool) {
        if !goes {
            self.leaving.remove(machine);
        }
    }

    fn observe(&mut self, views: &[Arc<MachineView>], now: Instant) -> Observed {
        self.ages.look(views.iter().map(AsRef::as_ref), now, Timestamp::now());
        self.leaving.retain(|id| views.iter().any(|view| view.id == *id && view.state.is_idle_capacity()));
        let aged = views.iter().map(|view| (view, self.ages.of(&view.id, now)));
        let machines = aged.map(|(view, (in_state, age))| Machine {
            id: view.id.clone(),
            pool: view.pool.clone(),
            shape: view.shape.clone(),
            // A failed machine serves nobody, whatever its view still says.
            state: if self.leaving.contains(&view.id)
                || (view.failure.is_some() && view.state.is_idle_capacity())
            {
                MachineState::Stopping
            } else {
                view.state
            },
            in_state,
            age,
        });
        let machines = machines.collect();
        let mut waited: BTreeMap<PoolName, BTreeMap<Shape, Duration>> = BTreeMap::new();
        for ((pool, shape), then) in &self.hungry {
            waited.entry(pool.clone()).or_default().insert(shape.clone(), now - *then);
        }
        let mut entries = self.shared.entries();
        let pools = entries.iter_mut().map(|entry| {
            let demand = self.sources.demand(&entry.spec);
            entry.queued = demand.values().fold(0, |sum, jobs| sum.saturating_add(*jobs));
            let pace = entry.judge(views, &demand, now);
            let (min, max) = entry.scale();
            Pool {
                name: entry.spec.name.clone(),
                shape: entry.spec.shape.clone(),
                min,
                max,
                paused: entry.changed.paused || self.ends.stop.is_cancelled(),
                demand,
                waited: waited.remove(&entry.spec.name).unwrap_or_default(),
                pace,
                idle_deadline: entry.spec.deadlines.idle,
            }
        });
        let pools = pools.collect();
        Observed {
            budget: self.shared.budget,
            drained: self.shared.drained().is_some(),
            pools,
            machines,
            surplus_after: self.timing.surplus_after,
            patience: self.timing.patience,
        }
    }

    /// Tells the handles why pools and jobs wait.
    fn publish(&self, plan: &mut Plan) {
        *self.shared.held() = plan.held;
        for entry in self.shared.entries().iter_mut() {
            entry.lines = plan.lines.remove(&entry.spec.name).unwrap_or_default();
            entry.waiting_for = match (plan.obstacles.get(&entry.spec.name), self.sources.error(&entry.spec))
            {
                (Some(why), _) => Some(entry.asked_backoff(*why).unwrap_or_else(|| why.to_string())),
                (None, error) => error.map(str::to_owned),
            };
        }
    }

    /// The next moment at which something changes by time alone.
    fn next_look(&self, observed: &Observed, surplus_in: Option<Duration>, now: Instant) -> Instant {
        let start = Instant::now();
        let mut next = start + self.timing.resync;
        let mut at_latest = |wait: Duration| next = next.min(start + wait);
        for entry in self.shared.entries().iter() {
            for until in entry.pauses().filter(|until| *until > now) {
                at_latest(until - now);
            }
        }
        // A thousand machines that became ready one by one are not looked at one by one.
        if let Some(left) = surplus_in {
            at_latest(left.max(observed.surplus_after / 60));
        }
        for pool in observed.pools.iter().filter(|pool| !pool.idle_deadline.is_zero()) {
            let ready =
                |machine: &&Machine| machine.state == MachineState::Ready && machine.pool == pool.name;
            let left = observed.machines.iter().filter(ready);
            let left = left.filter_map(|machine| pool.idle_deadline.checked_sub(machine.in_state));
            if let Some(left) = left.filter(|left| !left.is_zero()).min() {
                at_latest(left.max(pool.idle_deadline / 60));
            }
        }
        next.min(self.sources.retry_at().unwrap_or(next)).max(start)
    }

    /// Lets every idle machine go. What cannot go now is the machines' own affair: they are stopping too.
    async fn drain(&mut self) {
        let views = self.shared.machines.views();
        let observed = self.observe(&views, Instant::now());
        let idle =
            plan(&observed).actions.into_iter().filter(|action| matches!(action, Action::Retire { .. }));
        // All at once: one that waits for its turn could get a job meanwhile.
        self.act(idle.collect(), &views).await;
        while let Some((machine, goes)) = self.retiring.next().await {
            self.answered(&machine, goes);
        }
    }
}

/// Asks a machine to go. True when it does.
async fn retire(shared: Arc<Shared>, timing: Timing, machine: MachineId, why: Why) -> (MachineId, bool) {
    let goes = match timeout(timing.act_deadline, shared.machines.retire(&machine, &why.to_string())).await {
        Ok(Ok(())) => {
            tracing::debug!(%machine, %why, "machine retired");
            true
        }
        Ok(Err(RetireError::Busy(_) | RetireError::Unknown(_))) => false,
        Err(_) => {
            tracing::warn!(%machine, "a machine did not begin to retire in time; trying again later");
            false
        }
    };
    (machine, goes)
}

/// A machine that was not begun.
struct Refusal {
    pool: PoolName,
    shape: Shape,
    begun: Instant,
    reason: String,
}

impl Shared {
    /// Begins a machine, unless what was decided does not hold any more. Returns why it was not begun, where that counts as a
    /// failure of the pool.
    async fn create(&self, new: NewMachine, until: Instant, ends: &Ends) -> Option<Refusal> {
        let (pool, shape) = (new.pool.clone(), new.shape.clone());
        let begun = Instant::now();
        let paused = || self.entries().iter().any(|entry| entry.spec.name == pool && entry.changed.paused);
        if ends.come() || begun >= until || self.drained().is_some() || paused() {
            return None;
        }
        let reason = match timeout_at(until, self.machines.create(new)).await {
            Ok(Ok(machine)) => {
                tracing::debug!(%pool, %machine, "machine begun");
                return None;
            }
            // The server ends, and this loop with it: no fault of the pool.
            Ok(Err(CreateError::Closed)) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("a machine was not created within {:?}", begun.elapsed()),
        };
        tracing::warn!(%pool, error = %reason, "no machine created");
        Some(Refusal { pool, shape, begun, reason })
    }

    fn refused(&self, refusal: &Refusal, views: &[Arc<MachineView>]) {
        let Refusal { pool, shape, begun, reason } = refusal;
        if let Some(entry) = self.entries().iter_mut().find(|entry| entry.spec.name == *pool) {
            let there = views.iter().map(AsRef::as_ref).filter(|view: &&MachineView| view.pool == *pool);
            entry.failures_of(shape).refused(*begun, reason, there, rand::random());
        }
    }
}
