//! The machine's clock follows the host's.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};

/// A machine that is this far behind is put right: the host was suspended, or its clock was.
const BEHIND: Duration = Duration::from_secs(1);
/// One that seems to be ahead is so only from here on: what the host says is old when a busy machine comes to read it.
const AHEAD: Duration = Duration::from_secs(30);

/// Sets the clock.
pub(crate) fn set(unix_nanos: u64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: i64::try_from(unix_nanos / 1_000_000_000).map_err(io::Error::other)?,
        tv_nsec: (unix_nanos % 1_000_000_000).try_into().map_err(io::Error::other)?,
    };
    Ok(clock_settime(ClockId::Realtime, time)?)
}

/// Puts the clock right if the host's differs much. Gives what is to be said of it.
pub(crate) fn follow(unix_nanos: u64) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let step = step(now, Duration::from_nanos(unix_nanos))?;
    Some(match set(unix_nanos) {
        Ok(()) => format!("the clock was set {step}, as the host's is"),
        Err(error) => format!("the clock should be set {step}, as the host's is, and cannot be: {error}"),
    })
}

/// How far the clock is to be moved, in words; nothing while it is near.
fn step(now: Duration, host: Duration) -> Option<String> {
    let seconds = |by: Duration| format!("{:.1} s", by.as_secs_f64());
    let (behind, ahead) = (host.saturating_sub(now), now.saturating_sub(host));
    if behind >= BEHIND {
        return Some(format!("{} forward", seconds(behind)));
    }
    (ahead >= AHEAD).then(|| format!("{} back", seconds(ahead)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_far_off_is_moved() {
        let at = |millis| Duration::from_millis(millis);
        assert_eq!(step(at(100_000), at(100_999)), None);
        assert_eq!(step(at(100_000), at(101_500)).unwrap(), "1.5 s forward");
        assert_eq!(step(at(100_000), at(71_000)), None, "a word of the host's that was long under way");
        assert_eq!(step(at(100_000), at(70_000)).unwrap(), "30.0 s back");
    }
}
