//! A forge in memory: demand is what the test says it is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fireactions_model::{
    Demand, Forge, ForgeError, JobId, MachineId, Offer, Output, PoolName, PoolSpec, Release, Report, Shape,
    Work,
};
use tokio::sync::Notify;

/// A forge whose demand a test sets. It never hands out work.
#[derive(Debug, Default)]
pub struct FakeForge {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    demand: BTreeMap<PoolName, Demand>,
    failure: Option<ForgeError>,
    hanging: bool,
    asked: u32,
}

impl FakeForge {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many jobs of this shape wait for a pool, and the forge says that something changed.
    pub fn set_demand(&self, pool: &PoolName, shape: &Shape, jobs: u32) {
        self.state().demand.entry(pool.clone()).or_default().insert(shape.clone(), jobs);
        self.changed.notify_one();
    }

    /// Every question is answered with this error; `None` ends it.
    pub fn fail_with(&self, failure: Option<ForgeError>) {
        self.state().failure = failure;
        self.changed.notify_one();
    }

    /// Questions get no answer while this is true.
    pub fn hang(&self, hanging: bool) {
        self.state().hanging = hanging;
        self.changed.notify_one();
    }

    /// How often demand was asked for.
    pub fn asked(&self) -> u32 {
        self.state().asked
    }
}

#[async_trait]
impl Forge for FakeForge {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn demand(&self, _: &[PoolSpec]) -> Result<BTreeMap<PoolName, Demand>, ForgeError> {
        let (hanging, answer) = {
            let mut state = self.state();
            state.asked += 1;
            let answer = match &state.failure {
                Some(error) => Err(error.clone()),
                None => Ok(state.demand.clone()),
            };
            (state.hanging, answer)
        };
        if hanging {
            std::future::pending::<()>().await;
        }
        answer
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    async fn acquire(&self, _: &Offer) -> Result<Work, ForgeError> {
        std::future::pending().await
    }

    async fn release(&self, _: &MachineId) -> Result<Release, ForgeError> {
        Ok(Release::Idle)
    }

    async fn started(&self, _: &JobId, _: &MachineId) -> Result<(), ForgeError> {
        Ok(())
    }

    async fn output(&self, _: &JobId, _: &MachineId, _: Output) -> Result<(), ForgeError> {
        Ok(())
    }

    async fn cancelled(&self, _: &JobId) {
        std::future::pending::<()>().await;
    }

    async fn finished(&self, _: &JobId, _: &MachineId, _: &Report) -> Result<(), ForgeError> {
        Ok(())
    }
}
