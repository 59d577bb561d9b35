//! Machines in memory: they are in the state that the test puts them in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fireactions_model::{
    CreateError, Failure, FailureKind, MachineId, MachineState, MachineView, Machines, NewMachine, PoolName,
    RetireError, Step,
};
use jiff::Timestamp;
use tokio::sync::Notify;

/// Machines that a test moves from state to state.
#[derive(Debug, Default)]
pub struct FakeMachines {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    machines: Vec<MachineView>,
    created: u64,
    refusal: Option<CreateError>,
    deaf: bool,
    /// Creations that were refused, and machines that were asked to go and did not answer.
    refused: u64,
    unanswered: u64,
}

impl FakeMachines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every creation is refused with this error; `None` ends it.
    pub fn refuse_with(&self, refusal: Option<CreateError>) {
        self.state().refusal = refusal;
    }

    /// Machines that are asked to go do not answer while this is true.
    pub fn deafen(&self, deaf: bool) {
        self.state().deaf = deaf;
    }

    /// How many creations were refused so far.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    /// How many machines were asked to go and did not answer.
    pub fn unanswered(&self) -> u64 {
        self.state().unanswered
    }

    /// How many machines were ever created.
    pub fn created(&self) -> u64 {
        self.state().created
    }

    /// How many machines of a pool are in a state.
    pub fn count(&self, pool: &PoolName, state: MachineState) -> usize {
        self.state().machines.iter().filter(|view| view.pool == *pool && view.state == state).count()
    }

    /// Moves up to `count` machines of a pool from one state to another. Returns how many.
    pub fn shift(&self, pool: &PoolName, from: MachineState, to: MachineState, count: usize) -> usize {
        let mut moved = 0;
        for view in &mut self.state().machines {
            if moved < count && view.pool == *pool && view.state == from {
                view.state = to;
                view.state_since = Timestamp::now();
                moved += 1;
            }
        }
        self.changed.notify_one();
        moved
    }

    /// Fails every machine of a pool that is in this state.
    pub fn fail(&self, pool: &PoolName, state: MachineState, message: &str) {
        for view in &mut self.state().machines {
            if view.pool == *pool && view.state == state {
                view.failure = Some(Failure { kind: FailureKind::Guest, message: message.to_owned() });
                view.state = MachineState::Stopping;
                view.state_since = Timestamp::now();
            }
        }
        self.changed.notify_one();
    }

    /// Removes the rows of all stopping machines.
    pub fn remove_stopping(&self) {
        self.state().machines.retain(|view| view.state != MachineState::Stopping);
        self.changed.notify_one();
    }
}

#[async_trait]
impl Machines for FakeMachines {
    async fn create(&self, new: NewMachine) -> Result<MachineId, CreateError> {
        let mut state = self.state();
        if let Some(refusal) = state.refusal.clone() {
            state.refused += 1;
            return Err(refusal);
        }
        state.created += 1;
        let id = MachineId::from_random(state.created.to_le_bytes());
        let now = Timestamp::now();
        state.machines.push(MachineView {
            id: id.clone(),
            pool: new.pool,
            shape: new.shape,
            state: MachineState::Creating,
            step: Step::Created,
            job: None,
            pid: None,
            address: None,
            failure: None,
            phases: BTreeMap::new(),
            created_at: now,
            state_since: now,
            held_until: None,
            hold_secs: None,
            started: None,
            unrecorded: None,
        });
        drop(state);
        self.changed.notify_one();
        Ok(id)
    }

    async fn retire(&self, id: &MachineId, _: &str) -> Result<(), RetireError> {
        let deaf = self.state().deaf;
        if deaf {
            self.state().unanswered += 1;
            std::future::pending::<()>().await;
        }
        let mut state = self.state();
        let found = state.machines.iter_mut().find(|view| view.id == *id);
        let view = found.ok_or_else(|| RetireError::Unknown(id.clone()))?;
        if view.state.is_busy() {
            return Err(RetireError::Busy(id.clone()));
        }
        view.state = MachineState::Stopping;
        view.state_since = Timestamp::now();
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn views(&self) -> Vec<Arc<MachineView>> {
        self.state().machines.iter().cloned().map(Arc::new).collect()
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}
