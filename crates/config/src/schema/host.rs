//! The share of the host that machines may use.

use schemars::JsonSchema;
use serde::Deserialize;

/// The host's budget. A machine is started only when its vCPUs and its memory (with overhead) fit.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    /// CPUs that machines may use, before overcommit. When absent, all CPUs of the host.
    #[schemars(range(min = 1, max = 65536), example = 8)]
    pub vcpus: Option<u32>,
    /// Memory that machines may use, in MiB, before overcommit. When absent, seven eighths of the host's memory.
    #[schemars(range(min = 64, max = 1_073_741_824), example = 16384)]
    pub memory_mib: Option<u64>,
    /// vCPUs given to machines for each CPU of the budget.
    #[schemars(range(min = 0.1, max = 64.0))]
    pub cpu_overcommit: f64,
    /// Memory promised to machines for each MiB of the budget. Above 1, the host may run out of memory.
    #[schemars(range(min = 0.1, max = 16.0))]
    pub memory_overcommit: f64,
    /// Memory that a machine needs in addition to its guest memory, in MiB (VMM process, page tables, buffers).
    #[schemars(range(max = 65536))]
    pub machine_overhead_mib: u32,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            vcpus: None,
            memory_mib: None,
            // Jobs mostly wait for disk and network, and a CPU is only slower when shared, never out.
            cpu_overcommit: 2.0,
            memory_overcommit: 1.0,
            machine_overhead_mib: 64,
        }
    }
}
