//! What the server itself costs, from `/proc/self` (proc(5)).

use std::fs;

/// A process's resources; 0 where `/proc` does not say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Resident set in bytes.
    pub(super) resident_bytes: u64,
    /// User and system time.
    pub(super) cpu_seconds: f64,
    /// Open descriptors.
    pub(super) open_fds: u64,
}

/// Looks now.
pub(super) fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident_kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    Usage {
        resident_bytes: resident_kib * 1024,
        cpu_seconds: cpu_seconds().unwrap_or(0.0),
        open_fds: fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64),
    }
}

fn cpu_seconds() -> Option<f64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    let seconds = |time: nix::sys::time::TimeVal| {
        std::time::Duration::from_secs(u64::try_from(time.tv_sec()).ok()?)
            .checked_add(std::time::Duration::from_micros(u64::try_from(time.tv_usec()).ok()?))
    };
    Some((seconds(usage.user_time())? + seconds(usage.system_time())?).as_secs_f64())
}
