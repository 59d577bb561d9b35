//! Time that goes on while the host is suspended: what is true until a moment is not true longer because nobody was awake.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment of this boot of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Self(Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default()))
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    /// How much later it is than another; zero when it is not.
    pub fn since(self, other: Self) -> Duration {
        self.0.saturating_sub(other.0)
    }
}
