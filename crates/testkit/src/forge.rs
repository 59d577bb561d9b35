//! A forge in memory: demand is what the test says it is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fireactions_model::{Demand, DemandSource, ForgeError, PoolName, PoolSpec, Shape};
use tokio::sync::Notify;

/// A source of jobs whose demand a test sets.
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
    only: Option<PoolName>,
}

impl FakeForge {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves this pool alone; all without.
    pub fn only(pool: PoolName) -> Self {
        Self { state: Mutex::new(State { only: Some(pool), ..State::default() }), changed: Notify::new() }
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
impl DemandSource for FakeForge {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn serves(&self, pool: &PoolSpec) -> bool {
        self.state().only.as_ref().is_none_or(|only| *only == pool.name)
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
}
