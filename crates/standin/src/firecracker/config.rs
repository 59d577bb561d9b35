//! Bodies of Firecracker's API, with its own strictness: fields that it does not know are refused where it refuses
//! them (version 1.17).

#![allow(clippy::struct_field_names, reason = "the names are the API's")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BootSource {
    pub(crate) kernel_image_path: String,
    pub(crate) initrd_path: Option<String>,
    pub(crate) boot_args: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
pub(crate) struct TokenBucket {
    pub(crate) size: u64,
    pub(crate) one_time_burst: Option<u64>,
    pub(crate) refill_time: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimiter {
    pub(crate) bandwidth: Option<TokenBucket>,
    pub(crate) ops: Option<TokenBucket>,
}

impl RateLimiter {
    /// A bucket of nothing is no limit, and limits without a bucket are none.
    fn counting(self) -> Option<Self> {
        let counts = |bucket: &TokenBucket| bucket.size > 0 && bucket.refill_time > 0;
        let limiter = Self { bandwidth: self.bandwidth.filter(counts), ops: self.ops.filter(counts) };
        Some(limiter).filter(|limiter| limiter.bandwidth.is_some() || limiter.ops.is_some())
    }

    /// What becomes of limits by an update: a bucket that it does not name stays.
    pub(crate) fn updated(old: Option<Self>, update: Option<Self>) -> Option<Self> {
        let Some(update) = update else { return old };
        let merged = Self {
            bandwidth: update.bandwidth.or(old.and_then(|old| old.bandwidth)),
            ops: update.ops.or(old.and_then(|old| old.ops)),
        };
        merged.counting()
    }
}

fn limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RateLimiter>, D::Error> {
    Ok(Option::<RateLimiter>::deserialize(deserializer)?.and_then(RateLimiter::counting))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
pub(crate) enum CacheType {
    #[default]
    Unsafe,
    Writeback,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
pub(crate) enum IoEngine {
    Async,
    #[default]
    Sync,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drive {
    pub(crate) drive_id: String,
    pub(crate) partuuid: Option<String>,
    pub(crate) is_root_device: bool,
    #[serde(default)]
    pub(crate) cache_type: CacheType,
    pub(crate) is_read_only: Option<bool>,
    pub(crate) path_on_host: Option<String>,
    #[serde(default, deserialize_with = "limits")]
    pub(crate) rate_limiter: Option<RateLimiter>,
    pub(crate) io_engine: Option<IoEngine>,
    pub(crate) socket: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriveUpdate {
    pub(crate) drive_id: String,
    pub(crate) path_on_host: Option<String>,
    pub(crate) rate_limiter: Option<RateLimiter>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nic {
    pub(crate) iface_id: String,
    pub(crate) host_dev_name: String,
    pub(crate) guest_mac: Option<Mac>,
    pub(crate) mtu: Option<u16>,
    #[serde(default, deserialize_with = "limits")]
    pub(crate) rx_rate_limiter: Option<RateLimiter>,
    #[serde(default, deserialize_with = "limits")]
    pub(crate) tx_rate_limiter: Option<RateLimiter>,
}

/// Six bytes in hexadecimal, with colons between them.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Mac(String);

impl TryFrom<String> for Mac {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bytes: Vec<&str> = text.split(':').collect();
        let fine = bytes.len() == 6
            && bytes.iter().all(|byte| byte.len() == 2 && byte.chars().all(|c| c.is_ascii_hexdigit()));
        if fine {
            Ok(Self(text.to_lowercase()))
        } else {
            Err("The provided MAC address is invalid.".to_owned())
        }
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.0
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NicUpdate {
    pub(crate) iface_id: String,
    pub(crate) rx_rate_limiter: Option<RateLimiter>,
    pub(crate) tx_rate_limiter: Option<RateLimiter>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
pub(crate) enum HugePages {
    #[default]
    None,
    Transparent,
    #[serde(rename = "2M")]
    Hugetlbfs2M,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
pub(crate) enum CpuTemplate {
    C3,
    T2,
    T2S,
    T2CL,
    T2A,
    None,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    pub(crate) vcpu_count: u8,
    pub(crate) mem_size_mib: usize,
    #[serde(default)]
    pub(crate) smt: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_template: Option<CpuTemplate>,
    #[serde(default)]
    pub(crate) track_dirty_pages: bool,
    #[serde(default)]
    pub(crate) huge_pages: HugePages,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            vcpu_count: 1,
            mem_size_mib: 128,
            smt: false,
            cpu_template: None,
            track_dirty_pages: false,
            huge_pages: HugePages::None,
        }
    }
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineUpdate {
    pub(crate) vcpu_count: Option<u8>,
    pub(crate) mem_size_mib: Option<usize>,
    pub(crate) smt: Option<bool>,
    pub(crate) cpu_template: Option<CpuTemplate>,
    pub(crate) track_dirty_pages: Option<bool>,
    pub(crate) huge_pages: Option<HugePages>,
}

impl From<Machine> for MachineUpdate {
    fn from(machine: Machine) -> Self {
        Self {
            vcpu_count: Some(machine.vcpu_count),
            mem_size_mib: Some(machine.mem_size_mib),
            smt: Some(machine.smt),
            cpu_template: machine.cpu_template,
            track_dirty_pages: Some(machine.track_dirty_pages),
            huge_pages: Some(machine.huge_pages),
        }
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vsock {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vsock_id: Option<String>,
    pub(crate) guest_cid: u32,
    pub(crate) uds_path: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
pub(crate) enum MmdsVersion {
    #[default]
    V1,
    V2,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mmds {
    #[serde(default)]
    pub(crate) version: MmdsVersion,
    pub(crate) network_interfaces: Vec<String>,
    pub(crate) ipv4_address: Option<Ipv4Addr>,
    #[serde(default)]
    pub(crate) imds_compat: bool,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entropy {
    #[serde(default, deserialize_with = "limits")]
    pub(crate) rate_limiter: Option<RateLimiter>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Balloon {
    pub(crate) amount_mib: u32,
    pub(crate) deflate_on_oom: bool,
    #[serde(default)]
    pub(crate) stats_polling_interval_s: u16,
    #[serde(default)]
    pub(crate) free_page_hinting: bool,
    #[serde(default)]
    pub(crate) free_page_reporting: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BalloonUpdate {
    pub(crate) amount_mib: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BalloonStatsUpdate {
    pub(crate) stats_polling_interval_s: u16,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logger {
    pub(crate) log_path: Option<PathBuf>,
    pub(crate) level: Option<Level>,
    pub(crate) show_level: Option<bool>,
    #[serde(rename = "show_log_origin")]
    _show_log_origin: Option<bool>,
    #[serde(rename = "module")]
    _module: Option<String>,
}

/// Case does not matter in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl TryFrom<String> for Level {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        Ok(match text.to_lowercase().as_str() {
            "off" => Self::Off,
            "error" => Self::Error,
            "warn" | "warning" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return Err("Invalid LevelFilter"),
        })
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Metrics {
    pub(crate) metrics_path: PathBuf,
    #[serde(default, rename = "emit_id")]
    _emit_id: bool,
    #[serde(default, rename = "properties")]
    _properties: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Serial {
    #[serde(rename = "serial_out_path")]
    pub(crate) serial_out_path: Option<PathBuf>,
    #[serde(rename = "rate_limiter")]
    _rate_limiter: Option<TokenBucket>,
}

#[derive(Debug, Deserialize)]
pub(crate) enum ActionType {
    FlushMetrics,
    InstanceStart,
    SendCtrlAltDel,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstanceAction {
    pub(crate) action_type: ActionType,
}

#[derive(Debug, Deserialize)]
pub(crate) enum VmState {
    Paused,
    Resumed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vm {
    pub(crate) state: VmState,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
pub(crate) enum SnapshotType {
    Diff,
    #[default]
    Full,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotCreate {
    #[serde(default)]
    pub(crate) snapshot_type: SnapshotType,
    pub(crate) snapshot_path: PathBuf,
    pub(crate) mem_file_path: PathBuf,
}

#[derive(Debug, PartialEq, Deserialize)]
pub(crate) enum BackendType {
    File,
    Uffd,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemoryBackend {
    pub(crate) backend_path: PathBuf,
    pub(crate) backend_type: BackendType,
}

#[derive(Debug, Deserialize)]
pub(crate) struct NetworkOverride {
    pub(crate) iface_id: String,
    pub(crate) host_dev_name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct VsockOverride {
    pub(crate) uds_path: String,
}

#[derive(Debug, Default, Deserialize)]
enum SnapshotHugePages {
    #[default]
    Snapshot,
    None,
    Transparent,
    #[serde(rename = "2M")]
    Hugetlbfs2M,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapshotLoad {
    pub(crate) snapshot_path: PathBuf,
    pub(crate) mem_file_path: Option<PathBuf>,
    pub(crate) mem_backend: Option<MemoryBackend>,
    #[serde(default)]
    pub(crate) enable_diff_snapshots: bool,
    #[serde(default, rename = "track_dirty_pages")]
    _track_dirty_pages: bool,
    #[serde(default)]
    pub(crate) resume_vm: bool,
    #[serde(default)]
    pub(crate) network_overrides: Vec<NetworkOverride>,
    pub(crate) vsock_override: Option<VsockOverride>,
    #[serde(default, rename = "clock_realtime")]
    _clock_realtime: bool,
    #[serde(default, rename = "huge_pages")]
    _huge_pages: SnapshotHugePages,
}
