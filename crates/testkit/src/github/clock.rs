//! What tests do to the fake's clock.

use jiff::{SignedDuration, Timestamp};

use super::FakeGithub;

impl FakeGithub {
    /// From now on the fake's clock is ahead of the host's by so much (behind, when negative). Tokens and JWTs are
    /// judged, and `Date` headers written, by it.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.shared.with(|state| state.clock.set_offset(offset));
    }

    /// What the fake takes the time to be.
    pub fn now(&self) -> Timestamp {
        self.shared.with(|state| state.clock.now())
    }
}
