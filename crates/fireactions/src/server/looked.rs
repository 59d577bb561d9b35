//! The machines as the pools' controller sees them, with the time of its last call: each of its looks begins with
//! one, and a loop that hangs makes none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fireactions_machine::Machinery;
use fireactions_model::{CreateError, MachineId, MachineView, Machines, NewMachine, RetireError, Spare};

/// When the controller last did something.
#[derive(Clone)]
pub(super) struct LastLook(Arc<Mutex<Instant>>);

impl LastLook {
    pub(super) fn ago(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// The controller's machines.
pub(super) struct Looked {
    machines: Machinery,
    last: LastLook,
}

impl Looked {
    pub(super) fn new(machines: Machinery) -> Self {
        Self { machines, last: LastLook(Arc::new(Mutex::new(Instant::now()))) }
    }

    pub(super) fn last(&self) -> LastLook {
        self.last.clone()
    }
}

#[async_trait]
impl Machines for Looked {
    async fn create(&self, new: NewMachine) -> Result<MachineId, CreateError> {
        self.last.now();
        self.machines.create(new).await
    }

    async fn retire(&self, id: &MachineId, why: &str) -> Result<(), RetireError> {
        self.last.now();
        self.machines.retire(id, why).await
    }

    fn views(&self) -> Vec<Arc<MachineView>> {
        self.last.now();
        self.machines.views()
    }

    fn spare(&self, spare: Spare) {
        self.machines.spare(spare);
    }

    async fn changed(&self) {
        self.machines.changed().await;
    }
}
