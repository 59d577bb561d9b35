//! Room for images and scratch disks.

use std::path::Path;

use fireactions_config::Config;
use rustix::fs::statvfs;

use super::Finding;

const MIB: u64 = 1 << 20;
/// Less than this is not enough for one usual image and its conversion.
const LITTLE: u64 = 2048 * MIB;
const TOO_LITTLE: u64 = 256 * MIB;

pub(super) fn space(config: &Config) -> Finding {
    let state: &Path = &config.state_dir;
    // The directory may be made only when the server starts.
    let Some(there) = state.ancestors().find(|path| path.exists()) else {
        return Finding::error(
            "disk",
            format!("{} cannot be reached", state.display()),
            "set state_dir to a directory",
        );
    };
    match statvfs(there) {
        Ok(stat) => judge(state, stat.f_bavail.saturating_mul(stat.f_frsize)),
        Err(error) => Finding::error(
            "disk",
            format!("{}: {error}", there.display()),
            "check the file system of state_dir",
        ),
    }
}

fn judge(state: &Path, free: u64) -> Finding {
    let found = format!("{} MiB free for {}", free / MIB, state.display());
    let advice = "make room (`fireactions image gc`), or set state_dir to a larger file system";
    match free {
        0..TOO_LITTLE => Finding::error("disk", found, advice),
        TOO_LITTLE..LITTLE => Finding::warning("disk", found, advice),
        _ => Finding::ok("disk", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn little_room_is_said() {
        let severity = |free| judge(Path::new("/x"), free).severity;
        assert_eq!(
            [severity(MIB), severity(1024 * MIB), severity(1 << 40)],
            [Severity::Error, Severity::Warning, Severity::Ok]
        );
        assert!(space(&Config::default()).found.contains("MiB free for /var/lib/fireactions"));
    }
}
