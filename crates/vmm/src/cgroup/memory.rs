//! What a machine's memory cgroup tells about being short of memory.

use std::path::Path;

/// Near its limit: no more bytes than these are left of it. A VMM whose guest has touched all its memory has far more.
const NEAR: u64 = 16 << 20;

/// A look at one memory cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Oom {
    /// Processes of it that the kernel killed for memory.
    pub(crate) kills: u32,
    /// Its limit in bytes.
    pub(crate) limit: Option<u64>,
    /// Its own limit was hit so hard that nothing was left to give back. With kills and without this it was the
    /// host that had no memory left.
    pub(crate) limit_hit: bool,
    /// What cannot be given back, bytes: the memory that the guest and the VMM hold, and the tables of its pages. The page cache of
    /// the disks does not count, it fills every limit and goes when it is needed.
    pub(crate) held: u64,
    /// A process waits for memory now.
    pub(crate) waiting: bool,
}

impl Oom {
    /// From cgroup2's `memory.*` files (the kernel's admin-guide/cgroup-v2).
    pub(crate) fn v2(dir: &Path) -> Self {
        let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        let events = read("memory.events");
        Self {
            kills: count(&events, "oom_kill"),
            // "max" when there is none.
            limit: read("memory.max").trim().parse().ok(),
            limit_hit: count(&events, "oom") > 0,
            held: {
                let stat = read("memory.stat");
                ["anon", "pagetables", "sec_pagetables"].iter().filter_map(|name| field(&stat, name)).sum()
            },
            waiting: false,
        }
    }

    /// From version 1's `memory.*` files (admin-guide/cgroup-v1/memory).
    pub(crate) fn v1(dir: &Path) -> Self {
        let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        let control = read("memory.oom_control");
        Self {
            kills: count(&control, "oom_kill"),
            limit: read("memory.limit_in_bytes").trim().parse().ok(),
            limit_hit: read("memory.failcnt").trim().parse().is_ok_and(|failed: u64| failed > 0),
            held: {
                let kernel = read("memory.kmem.usage_in_bytes").trim().parse().unwrap_or(0);
                field(&read("memory.stat"), "total_rss").unwrap_or(0) + kernel
            },
            waiting: count(&control, "under_oom") > 0,
        }
    }

    /// Whether its processes can hardly get any more memory.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting || self.limit.is_some_and(|limit| self.held + NEAR >= limit)
    }
}

fn count(text: &str, name: &str) -> u32 {
    field(text, name).map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
}

/// `name value` lines.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A cgroup, as far as its files go.
    pub(in crate::cgroup) fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn version_2() {
        let dir = dir(&[
            ("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 1\n"),
            ("memory.max", "1000000000\n"),
            ("memory.stat", "anon 990000000\nfile 5\npagetables 4000000\nsec_pagetables 1000000\n"),
        ]);
        let oom = Oom::v2(dir.path());
        let (limit, held) = (Some(1_000_000_000), 995_000_000);
        assert_eq!(oom, Oom { kills: 1, limit, limit_hit: true, held, waiting: false });
        assert!(oom.is_full());
        assert!(!Oom { held: 980_000_000, ..oom }.is_full());
    }

    #[test]
    fn version_1() {
        let dir = dir(&[
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            ("memory.limit_in_bytes", "200000000\n"),
            ("memory.kmem.usage_in_bytes", "7\n"),
            ("memory.failcnt", "0\n"),
            ("memory.stat", "cache 7\nrss 1\ntotal_cache 199999000\ntotal_rss 5\n"),
        ]);
        let oom = Oom::v1(dir.path());
        assert_eq!(
            oom,
            Oom { kills: 3, limit: Some(200_000_000), limit_hit: false, held: 12, waiting: false }
        );
        assert!(!oom.is_full(), "a full page cache is no lack of memory");
    }

    #[test]
    fn a_cgroup_that_is_gone_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Oom::v2(&dir.path().join("x")), Oom::default());
        assert_eq!(Oom::v1(dir.path()), Oom::default());
        assert!(!Oom::default().is_full());
    }
}
