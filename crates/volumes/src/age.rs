//! How long something lies unused: by the clock since the boot, which nobody can set. The time of day counts only for what lay
//! unused while no server ran.

use std::fs::File;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Since the host booted. It goes on while the host sleeps, and only ever forward.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// When a content was used last, as far as its file tells. One of the future was used now.
pub(crate) fn of(modified: SystemTime) -> Duration {
    now().saturating_sub(SystemTime::now().duration_since(modified).unwrap_or_default())
}

/// Notes in the file that its content is used.
pub(crate) fn touch(file: &File) {
    if let Err(error) = file.set_modified(SystemTime::now()) {
        tracing::debug!(%error, "when a volume was used last could not be noted");
    }
}
