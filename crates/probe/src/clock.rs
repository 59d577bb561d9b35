//! The kernel's opinion of its own clock.

use std::io;

/// What the kernel knows of its clock (adjtimex(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// A time service has set it and still does: `STA_UNSYNC` is off, which the kernel sets again by itself when
    /// nobody has steered the clock for some hours.
    pub synchronized: bool,
    /// How far off the clock may be, in microseconds. It grows by 500 µs a second while nobody steers the clock,
    /// up to 16 s.
    pub max_error_us: i64,
}

/// Asks the kernel, and changes nothing.
///
/// # Errors
///
/// The kernel's, e.g. where a system call filter forbids even asking.
#[allow(unsafe_code, reason = "adjtimex has no safe wrapper in nix or rustix")]
pub fn read() -> io::Result<Clock> {
    // SAFETY: all fields are integers (and padding), for which zero is a value.
    let mut asked: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole `timex`, of which the kernel writes every field; `modes` is 0: only asking.
    let state = unsafe { libc::adjtimex(&raw mut asked) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Clock { synchronized: asked.status & libc::STA_UNSYNC == 0, max_error_us: asked.maxerror })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let clock = read().unwrap();
        assert!((0..=16_000_000).contains(&clock.max_error_us), "{clock:?}");
    }
}
