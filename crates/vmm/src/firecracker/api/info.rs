//! What Firecracker says about itself.

use serde::{Deserialize, Serialize};

use super::request::{Method, Request};

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
