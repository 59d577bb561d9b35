//! The machines as the pools' controller sees them, with the time of its last call: each of its looks says what is spare, and a loop
//! that hangs says nothing. Looking at the machines does not count: whoever shows the pools does that, too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
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
    machines: Arc<dyn Machines>,
    last: LastLook,
}

impl Looked {
    pub(super) fn new(machines: Arc<dyn Machines>) -> Self {
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
        self.machines.views()
    }

    fn spare(&self, spare: Spare) {
        self.last.now();
        self.machines.spare(spare);
    }

    async fn changed(&self) {
        self.machines.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use fireactions_testkit::machines::FakeMachines;

    use super::*;

    #[test]
    fn who_shows_the_pools_is_not_taken_for_their_loop() {
        let looked = Looked::new(Arc::new(FakeMachines::default()));
        let last = || *looked.last.0.lock().unwrap();
        let before = last();
        assert!(looked.views().is_empty());
        assert_eq!(last(), before);
        looked.spare(Spare::default());
        assert!(last() > before);
    }
}
