//! What Firecracker says about itself.

use serde::{Deserialize, Serialize};

use super::request::{Method, Request};
use super::{Balloon, BootSource, Drive, Entropy, MachineConfig, MmdsConfig, NetworkInterface, Vsock};

/// Whether the guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum InstanceState {
    /// Nothing has been started or loaded.
    #[serde(rename = "Not started")]
    NotStarted,
    /// It runs.
    Running,
    /// Its processors are stopped.
    Paused,
}

/// What `GET /` answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InstanceInfo {
    /// `Firecracker`.
    pub app_name: String,
    /// What its `--id` said.
    pub id: String,
    /// Whether the guest runs.
    pub state: InstanceState,
    /// Its version.
    pub vmm_version: String,
}

/// `GET /`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GetInstance;

impl Request for GetInstance {
    type Answer = InstanceInfo;
    const METHOD: Method = Method::Get;
    fn path(&self) -> String {
        "/".into()
    }
}

/// What `GET /version` answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct VersionAnswer {
    /// Such as `1.16.1` or `1.17.0-dev`; [`super::Version`] reads it.
    pub firecracker_version: String,
}

/// `GET /version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GetVersion;

impl Request for GetVersion {
    type Answer = VersionAnswer;
    const METHOD: Method = Method::Get;
    fn path(&self) -> String {
        "/version".into()
    }
}

/// What `GET /vm/config` answers: what has been set so far. A restored machine has no boot source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VmConfig {
    /// What it boots.
    #[serde(default)]
    pub boot_source: Option<BootSource>,
    /// Processors and memory.
    #[serde(default)]
    pub machine_config: Option<MachineConfig>,
    /// Disks; in no order once the guest runs.
    #[serde(default)]
    pub drives: Vec<Drive>,
    /// Network cards; likewise.
    #[serde(default)]
    pub network_interfaces: Vec<NetworkInterface>,
    /// The socket between host and guest.
    #[serde(default)]
    pub vsock: Option<Vsock>,
    /// The metadata service.
    #[serde(default)]
    pub mmds_config: Option<MmdsConfig>,
    /// The balloon.
    #[serde(default)]
    pub balloon: Option<Balloon>,
    /// The source of random numbers.
    #[serde(default)]
    pub entropy: Option<Entropy>,
}

/// `GET /vm/config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GetVmConfig;

impl Request for GetVmConfig {
    type Answer = VmConfig;
    const METHOD: Method = Method::Get;
    fn path(&self) -> String {
        "/vm/config".into()
    }
}
