//! What a host has, as far as it is known.

use std::fs;

/// Size of the host that a configuration is checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Host {
    /// CPUs that this process may run on.
    pub vcpus: Option<u32>,
    /// Physical memory, in MiB.
    pub memory_mib: Option<u64>,
}

impl Host {
    /// Nothing is known: the file is checked for another host, or for any.
    pub const fn unknown() -> Self {
        Self { vcpus: None, memory_mib: None }
    }

    /// This host. What cannot be found out is unknown.
    pub fn detect() -> Self {
        Self {
            vcpus: std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok()),
            memory_mib: fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total_mib),
        }
    }
}

/// The `MemTotal` line of /proc/meminfo (proc_meminfo(5); its unit is KiB).
fn total_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_meminfo() {
        assert_eq!(total_mib("MemTotal:        4028440 kB\nMemFree: 1 kB\n"), Some(3934));
        assert_eq!(total_mib("MemFree: 1 kB\n"), None);
        assert!(Host::detect().vcpus.is_some_and(|n| n > 0));
        assert!(Host::detect().memory_mib.is_some_and(|n| n > 0));
    }
}
