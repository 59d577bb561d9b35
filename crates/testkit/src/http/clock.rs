//! The fake's clock: the host's, shifted.

use jiff::{SignedDuration, Timestamp};

/// What the time is, for dates that go over the wire.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset: SignedDuration,
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.offset).unwrap_or(Timestamp::MAX)
    }

    /// From now on so far ahead of the host's clock; behind, when negative.
    pub(crate) fn set_offset(&mut self, offset: SignedDuration) {
        self.offset = offset;
    }

    pub(crate) fn offset(&self) -> SignedDuration {
        self.offset
    }

    /// Now, to the second, as forges write times.
    pub(crate) fn stamp(&self) -> Timestamp {
        wire(self.now())
    }

    /// The `Date` header.
    pub(crate) fn date(&self) -> String {
        self.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }
}

/// A time as forges write it: to the second.
pub(crate) fn wire(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
