//! How a pool's machines start, and what the VMM gives them besides processors, memory and disks.

use serde::{Deserialize, Serialize};

/// How a machine is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum StartMode {
    /// Its kernel boots.
    Boot,
    /// It is a clone of a template that was frozen after its boot, where the VMM and the pool allow that; else it
    /// boots.
    #[default]
    Snapshot,
}

impl StartMode {
    /// The name used in JSON, tables and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Snapshot => "snapshot",
        }
    }
}

/// What the host backs guest memory with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HugePages {
    /// Pages of 4 KiB.
    #[default]
    None,
    /// Pages of 2 MiB where the host's kernel has some at hand.
    Transparent,
    /// Pages of 2 MiB from the host's reserved pool (hugetlbfs). Such a machine cannot be a clone.
    Hugetlbfs,
}

/// Version of the metadata service's protocol (Firecracker's MMDS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum MmdsVersion {
    /// Any request is answered. Only for images whose cloud-init knows no tokens.
    V1,
    /// Requests need a session token.
    #[default]
    V2,
}

/// Limits of a machine's scratch disk, reads and writes together. Without a value there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DiskLimits {
    /// MiB a second.
    pub mib_per_second: Option<u32>,
    /// Operations a second.
    pub iops: Option<u32>,
}

/// A machine's hardware settings besides its shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Hardware {
    /// The guest has a serial console, which takes time at boot. QEMU's machines always have one.
    pub console: bool,
    /// Backing of guest memory.
    pub huge_pages: HugePages,
    /// Limits of the scratch disk.
    pub disk_limits: DiskLimits,
    /// Bytes of the scratch disk for each inode: it has room for that many fewer files. A power of two, 1024 to 65536.
    pub bytes_per_inode: u32,
    /// Protocol of the metadata service, if the VMM has one.
    pub mmds: MmdsVersion,
    /// A CPU template by Firecracker's name for it (`T2S`, …); by default the host's CPU unchanged.
    pub cpu_template: Option<String>,
}

impl Hardware {
    /// A build's tree of dependencies has files of some 10 KiB; ext4's own default is the same.
    pub const BYTES_PER_INODE: u32 = 16 * 1024;
}

impl Default for Hardware {
    fn default() -> Self {
        Self {
            console: false,
            huge_pages: HugePages::default(),
            disk_limits: DiskLimits::default(),
            bytes_per_inode: Self::BYTES_PER_INODE,
            mmds: MmdsVersion::default(),
            cpu_template: None,
        }
    }
}
