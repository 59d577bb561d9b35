//! The fake's clock: the host's, shifted.

use jiff::{SignedDuration, Timestamp};

use super::FakeGithub;

/// What the time is, for dates that go over the wire.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset: SignedDuration,
}

impl Clock {
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.offset).unwrap_or(Timestamp::MAX)
    }

    /// Now, to the second, as GitHub writes times.
    pub(super) fn stamp(&self) -> Timestamp {
        wire(self.now())
    }

    /// The `Date` header.
    pub(super) fn date(&self) -> String {
        self.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}

/// A time as GitHub writes it: to the second.
pub(super) fn wire(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

impl FakeGithub {
    /// From now on the fake's clock is ahead of the host's by so much (behind, when negative). Tokens and JWTs are
    /// judged, and `Date` headers written, by it.
    pub fn set_clock_offset(&self, offset: SignedDuration) {
        self.shared.with(|state| state.clock.offset = offset);
    }

    /// What the fake takes the time to be.
    pub fn now(&self) -> Timestamp {
        self.shared.with(|state| state.clock.now())
    }
}
