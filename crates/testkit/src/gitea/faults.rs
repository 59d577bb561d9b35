//! What goes wrong, as tests script it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::http::{Fault, Faults};

use super::FakeGitea;

impl FakeGitea {
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

    /// The next so many requests for this find SQLite's database locked.
    pub fn database_locked(&self, method: &str, path: &str, times: u32) {
        let message = if path.starts_with("/api/actions") {
            "rpc error: code = Internal desc = pick task: database is locked"
        } else {
            "database is locked"
        };
        self.fault(Fault::on(method, path).times(times).status(500, message));
    }

    /// For so long every connection ends in a reset: new ones, idle ones, and those with a request under way.
    pub fn down(&self, time: Duration) {
        self.shared.with(|state| {
            state.faults.down(time);
            state.touch();
        });
    }

    /// Every request is answered with this status and the same path at another address, such as `https://git.example`;
    /// `None` ends it.
    pub fn redirect(&self, to: Option<(u16, &str)>) {
        self.shared.with(|state| {
            state.redirect = to.map(|(status, base)| (status, base.trim_end_matches('/').to_owned()));
        });
    }

    /// No page of a list is longer, whatever is asked for; 50 until told otherwise.
    pub fn set_page_cap(&self, cap: usize) {
        self.shared.with(|state| state.page_cap = cap.max(1));
    }

    /// From now on the fake's clock is ahead of the host's by so much (behind, when negative). Times and `Date` headers
    /// are written, and runners judged to be offline, by it.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.shared.with(|state| {
            state.clock.set_offset(offset);
            state.touch();
        });
    }

    /// So much later.
    ///
    /// # Panics
    ///
    /// When that is beyond any clock.
    pub fn advance(&self, time: SignedDuration) {
        self.shared.with(|state| {
            let offset = state.clock.offset().checked_add(time).expect("a time");
            state.clock.set_offset(offset);
            state.touch();
        });
    }

    /// What the fake takes the time to be.
    pub fn now(&self) -> Timestamp {
        self.shared.with(|state| state.now())
    }
}
