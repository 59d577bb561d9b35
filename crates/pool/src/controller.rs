//! The loop around the decision.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::{
    CreateError, Drained, Forge, MachineId, MachineState, MachineView, Machines, NewMachine, PoolName,
    PoolOverride, PoolSpec, RetireError, Shape, Spare,
};
use futures::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::forge_demand::ForgeDemand;
use crate::handle::{Entry, NoOverrides, Overrides, PoolHandle, Shared};
use crate::observed::{Machine, Observed, Pool};
use crate::{Action, Budget, Plan, Why, plan};

/// The loop's times. The defaults are right for servers; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A look is taken at least this often, whatever was heard.
    pub resync: Duration,
    /// Least time between two looks, so that a flood of changes is taken in together.
    pub gap: Duration,
    /// The forge must answer within this.
    pub demand_deadline: Duration,
    /// How long the last known demand counts while the forge does not answer.
    pub demand_keep: Duration,
    /// Beginning or retiring one machine may take this long.
    pub act_deadline: Duration,
    /// A ready machine that nobody needs goes after this.
    pub surplus_after: Duration,
    /// Jobs that got no machine for this long come before all others.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            resync: Duration::from_secs(30),
            gap: Duration::from_millis(5),
            demand_deadline: Duration::from_secs(10),
            demand_keep: Duration::from_secs(60),
            act_deadline: Duration::from_secs(15),
            surplus_after: Duration::from_secs(60),
            patience: Duration::from_secs(30),
        }
    }
}

/// Sees to it that the pools have the machines they should.
pub struct Controller {
    forge: Arc<dyn Forge>,
    shared: Arc<Shared>,
    budget: Budget,
    timing: Timing,
    demand: ForgeDemand,
    /// Machines that were asked to go and still look idle: their views are behind.
    leaving: HashSet<MachineId>,
    /// Since when jobs of a pool and shape get no machine.
    hungry: BTreeMap<(PoolName, Shape), Timestamp>,
    closed: bool,
}

impl Controller {
    /// A controller of these pools. Nothing happens before [`run`](Self::run).
    pub fn new(
        forge: Arc<dyn Forge>,
        machines: Arc<dyn Machines>,
        pools: Vec<PoolSpec>,
        budget: Budget,
    ) -> Self {
        let shared = Shared::new(machines, pools, &BTreeMap::new(), Arc::new(NoOverrides));
        let timing = Timing::default();
        Self {
            forge,
            shared: Arc::new(shared),
            budget,
            timing,
            demand: ForgeDemand::new(timing.demand_deadline, timing.demand_keep),
            leaving: HashSet::new(),
            hungry: BTreeMap::new(),
            closed: false,
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
        self.shared = Arc::new(Shared::new(self.shared.machines.clone(), pools, saved, overrides));
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
        self.demand = ForgeDemand::new(timing.demand_deadline, timing.demand_keep);
        self
    }

    /// The operators' side.
    pub fn handle(&self) -> PoolHandle {
        PoolHandle { shared: self.shared.clone() }
    }

    fn specs(&self) -> Vec<PoolSpec> {
        self.shared.entries().iter().map(|entry| entry.spec.clone()).collect()
    }

    /// Most machines of each pool, as it stands.
    fn capacity(&self) -> BTreeMap<PoolName, u32> {
        let closed = self.closed || self.shared.drained().is_some();
        let of = |entry: &Entry| if closed || entry.changed.paused { 0 } else { entry.scale().1 };
        self.shared.entries().iter().map(|entry| (entry.spec.name.clone(), of(entry))).collect()
    }

    /// Runs until `shutdown`; then lets every idle machine go and returns without waiting for the busy ones.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (forge, shared) = (self.forge.clone(), self.shared.clone());
        let machines = shared.machines.clone();
        let mut demand_changed = forge.changed();
        let mut machines_changed = machines.changed();
        while !shutdown.is_cancelled() {
            let again = self.look().await;
            let earliest = Instant::now() + self.timing.gap;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = &mut demand_changed => demand_changed = forge.changed(),
                () = &mut machines_changed => machines_changed = machines.changed(),
                () = shared.changed.notified() => {}
                () = sleep_until(again) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = sleep_until(earliest) => {}
            }
        }
        self.drain().await;
    }

    /// One look and what follows from it. Returns when to look again at the latest.
    async fn look(&mut self) -> Instant {
        let specs = self.specs();
        // Machines first: a job that is bound in between is then counted as served by a machine that looks
        // idle, and the change wakes us again. The other way round it would get a second machine.
        let views = self.shared.machines.views();
        self.forge.set_capacity(&self.capacity());
        self.demand.refresh(&*self.forge, &specs).await;
        let shared = Arc::clone(&self.shared);
        let _acting = shared.acting.lock().await;
        let now = Timestamp::now();
        let observed = self.observe(&views, now);
        let mut plan = plan(&observed);
        self.publish(&mut plan);
        let before = std::mem::take(&mut self.hungry);
        self.hungry = plan.hungry.iter().map(|key| (key.clone(), *before.get(key).unwrap_or(&now))).collect();
        self.shared.machines.spare(if self.closed { Spare::default() } else { plan.spare });
        for action in plan.actions {
            match action {
                Action::Create { pool, shape } => self.create(NewMachine { pool, shape }).await,
                Action::Retire { machine, why } => self.retire(machine, why).await,
            }
        }
        self.next_look(&observed, now)
    }

    fn observe(&mut self, views: &[MachineView], now: Timestamp) -> Observed {
        let since = |then: Timestamp| Duration::try_from(now.duration_since(then)).unwrap_or_default();
        self.leaving.retain(|id| views.iter().any(|view| view.id == *id && view.state.is_idle_capacity()));
        let machines = views.iter().map(|view| Machine {
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
            in_state: since(view.state_since),
            age: since(view.created_at),
        });
        let machines = machines.collect();
        let mut waited: BTreeMap<PoolName, BTreeMap<Shape, Duration>> = BTreeMap::new();
        for ((pool, shape), then) in &self.hungry {
            waited.entry(pool.clone()).or_default().insert(shape.clone(), since(*then));
        }
        let mut entries = self.shared.entries();
        let pools = entries.iter_mut().map(|entry| {
            let demand = self.demand.of(&entry.spec.name);
            entry.queued = demand.values().fold(0, |sum, jobs| sum.saturating_add(*jobs));
            let pace = entry.judge(views, &demand, now);
            let (min, max) = entry.scale();
            Pool {
                name: entry.spec.name.clone(),
                shape: entry.spec.shape.clone(),
                min,
                max,
                paused: entry.changed.paused || self.closed,
                demand,
                waited: waited.remove(&entry.spec.name).unwrap_or_default(),
                pace,
                idle_deadline: entry.spec.deadlines.idle,
            }
        });
        let pools = pools.collect();
        Observed {
            budget: self.budget,
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
            entry.waiting_for = match (plan.waiting.get(&entry.spec.name), self.demand.error()) {
                (Some(why), _) => Some(entry.asked_backoff(*why).unwrap_or_else(|| why.to_string())),
                (None, error) => error.map(str::to_owned),
            };
        }
    }

    async fn create(&mut self, new: NewMachine) {
        if self.closed {
            return;
        }
        let (pool, shape) = (new.pool.clone(), new.shape.clone());
        let begun = Timestamp::now();
        let reason = match timeout(self.timing.act_deadline, self.shared.machines.create(new)).await {
            Ok(Ok(machine)) => {
                tracing::debug!(%pool, %machine, "machine begun");
                return;
            }
            Ok(Err(CreateError::Closed)) => {
                self.closed = true;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("a machine was not begun within {:?}", self.timing.act_deadline),
        };
        tracing::warn!(%pool, error = %reason, "no machine begun");
        if let Some(entry) = self.shared.entries().iter_mut().find(|entry| entry.spec.name == pool) {
            entry.failures_of(&shape).failed(begun, &reason, Timestamp::now(), rand::random());
        }
    }

    async fn retire(&mut self, machine: MachineId, why: Why) {
        if retire(&self.shared, self.timing.act_deadline, machine.clone(), why).await {
            self.leaving.insert(machine);
        }
    }

    /// The next moment at which something changes by time alone.
    fn next_look(&self, observed: &Observed, now: Timestamp) -> Instant {
        let start = Instant::now();
        let mut next = start + self.timing.resync;
        let mut at_latest = |wait: Duration| next = next.min(start + wait);
        for entry in self.shared.entries().iter() {
            for backoff in entry.backoffs().filter(|backoff| backoff.until > now) {
                at_latest(Duration::try_from(backoff.until.duration_since(now)).unwrap_or_default());
            }
        }
        for machine in observed.machines.iter().filter(|machine| machine.state == MachineState::Ready) {
            let idle =
                observed.pools.iter().find(|pool| pool.name == machine.pool).map(|pool| pool.idle_deadline);
            for limit in [Some(observed.surplus_after), idle].into_iter().flatten() {
                if let Some(left) = limit.checked_sub(machine.in_state).filter(|left| !left.is_zero()) {
                    // A thousand machines that became ready one by one are not looked at one by one.
                    at_latest(left.max(limit / 60));
                }
            }
        }
        next.min(self.demand.retry_at().unwrap_or(next)).max(start)
    }

    /// Lets every idle machine go. What cannot go now is the machines' own affair: they are stopping too.
    async fn drain(&mut self) {
        self.closed = true;
        let views = self.shared.machines.views();
        let observed = self.observe(&views, Timestamp::now());
        let leaving = plan(&observed).actions.into_iter().filter_map(|action| match action {
            Action::Retire { machine, why } => {
                Some(retire(&self.shared, self.timing.act_deadline, machine, why))
            }
            Action::Create { .. } => None,
        });
        // All at once: one that waits for its turn could get a job meanwhile.
        join_all(leaving).await;
    }
}

/// Asks a machine to go. True when it does.
async fn retire(shared: &Shared, deadline: Duration, machine: MachineId, why: Why) -> bool {
    match timeout(deadline, shared.machines.retire(&machine, &why.to_string())).await {
        Ok(Ok(())) => {
            tracing::debug!(%machine, %why, "machine retired");
            true
        }
        // It got a job in the meantime, or is gone: the next look sees it as it is.
        Ok(Err(RetireError::Busy(_) | RetireError::Unknown(_))) => false,
        Err(_) => {
            tracing::warn!(%machine, "a machine did not begin to go in time; trying again later");
            false
        }
    }
}
