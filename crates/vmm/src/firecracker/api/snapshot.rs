//! Freezing a machine into files and waking clones of it.

use std::ops::Not;

use serde::Serialize;

use super::request::{Method, Request};
use super::{ApiError, Feature, Version};

/// How much of the memory a snapshot has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum SnapshotType {
    /// All of it.
    #[default]
    Full,
    /// What was written since the last snapshot; a preview of Firecracker's.
    Diff,
}

/// `PUT /snapshot/create`, of a paused machine. Takes as long as writing the guest's memory takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotCreate {
    /// File for the state of processors and devices.
    pub snapshot_path: String,
    /// File for the guest's memory, as long as the memory is.
    pub mem_file_path: String,
    /// How much of the memory.
    pub snapshot_type: SnapshotType,
}

impl Request for SnapshotCreate {
    type Answer = ();
    const METHOD: Method = Method::Put;
    fn path(&self) -> String {
        "/snapshot/create".into()
    }
}

/// Where a restored machine's memory comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "backend_type", content = "backend_path")]
pub enum MemoryBackend {
    /// A snapshot's memory file, mapped privately: clones share it in the page cache, and it must not change while one
    /// of them lives.
    File(String),
    /// The socket of a process that handles the page faults.
    Uffd(String),
}

/// Another tap for a restored machine's network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkOverride {
    /// The card's `iface_id` in the snapshot.
    pub iface_id: String,
    /// The tap.
    pub host_dev_name: String,
}

/// Another socket for a restored machine's vsock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VsockOverride {
    /// As in [`super::Vsock`].
    pub uds_path: String,
}

/// What a restored machine's memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SnapshotHugePages {
    /// As the snapshot's was.
    Snapshot,
    /// Ordinary pages.
    None,
    /// Transparent huge pages.
    Transparent,
    /// Pages of 2 MiB from hugetlbfs; takes [`MemoryBackend::Uffd`].
    #[serde(rename = "2M")]
    Hugetlbfs,
}

/// `PUT /snapshot/load`, of a process that has had nothing but its logger and metrics set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotLoad {
    /// The state of processors and devices.
    pub snapshot_path: String,
    /// The memory.
    pub mem_backend: MemoryBackend,
    /// Keep track of written pages from now on. Since [`Feature::TrackDirtyPagesOnLoad`].
    #[serde(skip_serializing_if = "Not::not")]
    pub track_dirty_pages: bool,
    /// Whether the machine runs at once; else [`super::SetState::Resumed`] starts it.
    pub resume_vm: bool,
    /// Other taps than the snapshot's. Since [`Feature::NetworkOverrides`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_overrides: Vec<NetworkOverride>,
    /// Another vsock socket than the snapshot's. Since [`Feature::VsockOverride`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vsock_override: Option<VsockOverride>,
    /// Whether kvmclock goes on at the present time instead of the snapshot's. Since [`Feature::ClockRealtime`].
    #[serde(skip_serializing_if = "Not::not")]
    pub clock_realtime: bool,
    /// What the memory is made of; as the snapshot's when absent. Since [`Feature::SnapshotHugePages`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<SnapshotHugePages>,
}

impl SnapshotLoad {
    /// A paused clone of these files, with everything as it was.
    pub fn new(snapshot_path: impl Into<String>, memory_file: impl Into<String>) -> Self {
        Self {
            snapshot_path: snapshot_path.into(),
            mem_backend: MemoryBackend::File(memory_file.into()),
            track_dirty_pages: false,
            resume_vm: false,
            network_overrides: Vec::new(),
            vsock_override: None,
            clock_realtime: false,
            huge_pages: None,
        }
    }
}

impl Request for SnapshotLoad {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        "/snapshot/load".into()
    }

    fn check(&self, version: Version) -> Result<(), ApiError> {
        version.require_if(!self.network_overrides.is_empty(), Feature::NetworkOverrides)?;
        version.require_if(self.track_dirty_pages, Feature::TrackDirtyPagesOnLoad)?;
        version.require_if(self.vsock_override.is_some(), Feature::VsockOverride)?;
        version.require_if(self.clock_realtime, Feature::ClockRealtime)?;
        version.require_if(self.huge_pages.is_some(), Feature::SnapshotHugePages)
    }
}
