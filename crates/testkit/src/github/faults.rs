//! Faults that tests script. Paths of the REST API are without `/api/v3`; those of the Actions service begin with
//! `/_actions/_apis` (its queues are `/_actions/_message/*`), and those of runners with `/_runner`.

use std::time::Duration;

use crate::http::{Fault, Faults, Reply};

use super::FakeGithub;

impl Fault {
    /// They meet GitHub's secondary limit.
    #[must_use]
    pub fn secondary_limit(self, retry_after: Duration) -> Self {
        self.reply(Reply::secondary(retry_after.as_secs()))
    }
}

impl FakeGithub {
    /// Scripts a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared.with(|state| state.faults.script(fault));
    }

    /// Forgets the faults that have not happened yet, [`Self::down`] included.
    pub fn clear_faults(&self) {
        self.shared.with(|state| state.faults = Faults::default());
    }

    /// Requests still scripted to meet a fault.
    pub fn faults_left(&self) -> u32 {
        self.shared.with(|state| state.faults.left())
    }

    /// For so long every connection ends in a reset: new ones, idle ones, and those with a request under way.
    pub fn down(&self, time: Duration) {
        self.shared.with(|state| {
            state.faults.down(time);
            state.touch();
        });
    }
}
