//! The budget that the configuration gives to machines.

use crate::{Config, Host};

/// The share of the host that machines may use, with overcommit already applied. Zero: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostBudget {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB, guests and overhead together.
    pub memory_mib: u64,
    /// Overhead of each machine beyond its guest memory, in MiB.
    pub machine_overhead_mib: u32,
}

impl Config {
    /// The budget on this host: what the file says, or else what the host has.
    pub fn budget(&self, host: &Host) -> HostBudget {
        let vcpus = self.host.vcpus.or(host.vcpus).unwrap_or(0);
        // An eighth of the host's memory stays with the host: the server, page cache, everything else.
        let memory = self.host.memory_mib.or(host.memory_mib.map(|all| all - all / 8)).unwrap_or(0);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "both factors are positive and far below 2^53; `as` saturates"
        )]
        HostBudget {
            vcpus: (f64::from(vcpus) * self.host.cpu_overcommit) as u32,
            memory_mib: (memory as f64 * self.host.memory_overcommit) as u64,
            machine_overhead_mib: self.host.machine_overhead_mib,
        }
    }
}
