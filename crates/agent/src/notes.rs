//! What the agent can see at a job's end that may explain it. The host shows these words beside the job's result; it
//! believes them no more than the job's own output.

use rustix::fs::StatVfs;

use crate::cgroup::Cgroup;

/// A disk with less room than this is full: no tool that failed for it would have needed so little.
const FULL: u64 = 1 << 20;

/// The room on the machine's root, to be asked before what the job has left is killed: that frees deleted files.
pub(crate) fn disk() -> Option<String> {
    // An overlay tells of its upper layer: the scratch disk.
    full(&rustix::fs::statvfs("/").ok()?)
}

fn full(disk: &StatVfs) -> Option<String> {
    let (left, size) =
        (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    if size > 0 && left < FULL.min(size / 16) {
        return Some(format!("the scratch disk is full ({} of {} MiB left)", left >> 20, size >> 20));
    }
    (disk.f_files > 0 && disk.f_favail == 0)
        .then(|| format!("the scratch disk has no room for another file (all {} are in use)", disk.f_files))
}

/// Processes that the kernel refused to start, or killed; so many of them at a memory limit within the machine.
pub(crate) fn processes(cgroup: Option<&Cgroup>, oom_kills: u64, at_limits: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((refused, max)) = cgroup.and_then(Cgroup::refused_forks) {
        notes.push(format!(
            "the job reached its limit of {max} processes and threads; {refused} could not be started"
        ));
    }
    let killed = |count: u64| {
        format!("memory: {count} {} killed", if count == 1 { "process was" } else { "processes were" })
    };
    if at_limits > 0 {
        notes.push(format!(
            "{} at the memory limit of a container or another group in the machine",
            killed(at_limits)
        ));
    }
    if oom_kills > 0 {
        let memory = rustix::system::sysinfo();
        let size = u64::from(memory.mem_unit).saturating_mul(memory.totalram) >> 20;
        notes.push(format!("{} for memory, of which the machine has {size} MiB", killed(oom_kills)));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(blocks: u64, available: u64, inodes: u64) -> StatVfs {
        StatVfs {
            f_frsize: 4096,
            f_blocks: blocks,
            f_bavail: available,
            f_files: 1000,
            f_favail: inodes,
            ..root()
        }
    }

    fn root() -> StatVfs {
        rustix::fs::statvfs("/").unwrap()
    }

    #[test]
    fn a_full_disk_is_told_from_one_with_room() {
        assert_eq!(full(&disk(65_536, 10, 5)).unwrap(), "the scratch disk is full (0 of 256 MiB left)");
        assert_eq!(full(&disk(65_536, 300, 5)), None);
        assert!(full(&disk(65_536, 300, 0)).unwrap().contains("all 1000 are in use"));
        assert_eq!(full(&disk(0, 0, 1)), None, "a file system that does not count");
    }
}
