//! How a pool's machines come to run, and what they may ask of their disk.

use fireactions_model as model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How machines start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StartSetting {
    /// Each machine boots its kernel.
    Boot,
    /// Each machine is a clone of one that was frozen after its boot, before it had an identity; with `init: image`, once
    /// the image's init had come up. It starts many times faster, and clones share the memory that they only read. They
    /// also share the random values that the kernel chose during boot (see docs/security.md). Machines boot while there is
    /// no such template, when a clone fails, and where clones are not possible: `huge_pages: hugetlbfs`, a VMM without
    /// snapshots, `init: image` with `metadata` or `user_data` under Firecracker.
    #[default]
    Snapshot,
}

impl StartSetting {
    pub(super) const fn spec(self) -> model::StartMode {
        match self {
            Self::Boot => model::StartMode::Boot,
            Self::Snapshot => model::StartMode::Snapshot,
        }
    }
}

/// Rate limits of a machine's writable disk, reads and writes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiskLimitsConfig {
    /// MiB per second. No limit when absent.
    #[schemars(range(min = 1, max = 1_048_576), example = 200)]
    pub mib_per_second: Option<u32>,
    /// Operations per second. No limit when absent.
    #[schemars(range(min = 1, max = 100_000_000), example = 5000)]
    pub iops: Option<u32>,
}

impl DiskLimitsConfig {
    pub(super) const fn spec(self) -> model::DiskLimits {
        model::DiskLimits { mib_per_second: self.mib_per_second, iops: self.iops }
    }
}
