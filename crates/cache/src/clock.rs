//! Time. What is promised to a client goes by the clock that nobody can set; the time of day is only for people, and
//! for how long something lay idle while no server ran.

use std::fmt;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// The two clocks of a host.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Since the host booted. It goes on while the host sleeps, and only ever forward.
    fn boot(&self) -> Duration;
    /// The time of day.
    fn day(&self) -> SystemTime;
}

/// The host's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostClock;

impl Clock for HostClock {
    fn boot(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn day(&self) -> SystemTime {
        SystemTime::now()
    }
}
