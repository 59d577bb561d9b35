//! What a machine's cgroups count of what it uses.

use std::path::Path;
use std::time::Duration;

use super::Hierarchy;
use super::memory::field;

/// What its cgroups know; nothing where there is no such controller, or no cgroup any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Bytes that the kernel could not take back at once: without the page cache that nobody has asked for lately, for that fills
    /// whatever it is given.
    pub(crate) memory: Option<u64>,
    /// Processor time of all its processes.
    pub(crate) cpu: Option<Duration>,
}

/// Memory, from the machine's cgroup in the hierarchy of its controller.
pub(super) fn memory(hierarchy: &Hierarchy, dir: &Path) -> Option<u64> {
    let (now, idle) = match hierarchy {
        Hierarchy::V1(_) => ("memory.usage_in_bytes", "total_inactive_file"),
        Hierarchy::V2(_) => ("memory.current", "inactive_file"),
    };
    let now: u64 = read(dir, now)?.trim().parse().ok()?;
    let idle = field(&read(dir, "memory.stat")?, idle)?;
    Some(now.saturating_sub(idle))
}

/// Processor time. Version 1 has it only where `cpuacct` is mounted together with `cpu`.
pub(super) fn cpu(hierarchy: &Hierarchy, dir: &Path) -> Option<Duration> {
    match hierarchy {
        Hierarchy::V1(_) => read(dir, "cpuacct.usage")?.trim().parse().ok().map(Duration::from_nanos),
        Hierarchy::V2(_) => field(&read(dir, "cpu.stat")?, "usage_usec").map(Duration::from_micros),
    }
}

fn read(dir: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(dir.join(file)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::memory::tests::dir;
    use super::*;

    #[test]
    fn both_versions_say_what_is_used() {
        let v2 = dir(&[
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 700\nfile 300\ninactive_file 250\n"),
            ("cpu.stat", "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n"),
        ]);
        let at = Hierarchy::V2(v2.path().to_owned());
        assert_eq!(memory(&at, v2.path()), Some(750));
        assert_eq!(cpu(&at, v2.path()), Some(Duration::from_millis(1500)));
        let v1 = dir(&[
            ("memory.usage_in_bytes", "1000\n"),
            ("memory.stat", "cache 3\ninactive_file 1\ntotal_inactive_file 1001\n"),
            ("cpuacct.usage", "1500000000\n"),
        ]);
        let at = Hierarchy::V1(v1.path().to_owned());
        assert_eq!(memory(&at, v1.path()), Some(0), "the two files are not of one moment");
        assert_eq!(cpu(&at, v1.path()), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn a_cgroup_that_is_gone_or_does_not_count_says_nothing() {
        let empty = dir(&[("memory.current", "1000\n"), ("cpu.stat", "nonsense\n")]);
        for at in [Hierarchy::V1("/".into()), Hierarchy::V2("/".into())] {
            assert_eq!((memory(&at, empty.path()), cpu(&at, empty.path())), (None, None));
        }
    }
}
