//! Disks.

use serde::Serialize;

use super::request::{Method, Request};
use super::{ApiError, RateLimiter, Version};

/// What a guest's flush does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum CacheType {
    /// Nothing: fast, and a crash of the host may tear the file. Right for a disk that ends with its machine.
    #[default]
    Unsafe,
    /// The file is synchronised.
    Writeback,
}

/// How Firecracker reads and writes the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum IoEngine {
    /// With blocking system calls.
    #[default]
    Sync,
    /// With io_uring; a preview of Firecracker's, not for production.
    Async,
}

/// `PUT /drives/{drive_id}`: a virtio block device. Before the start only. The guest sees drives in the order in which
/// they were added, the root device first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drive {
    /// Name: letters, digits and underscores.
    pub drive_id: String,
    /// The raw image or block device.
    pub path_on_host: String,
    /// Whether `root=/dev/vda` and `ro` or `rw` are put on the command line for it. Not with an initramfs.
    pub is_root_device: bool,
    /// Opened and shown to the guest read-only.
    pub is_read_only: bool,
    /// What a flush does.
    pub cache_type: CacheType,
    /// How the file is accessed; [`IoEngine::Sync`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_engine: Option<IoEngine>,
    /// Limits of reads and writes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

impl Drive {
    /// A disk without limits that is no root device.
    pub fn new(drive_id: impl Into<String>, path_on_host: impl Into<String>, is_read_only: bool) -> Self {
        Self {
            drive_id: drive_id.into(),
            path_on_host: path_on_host.into(),
            is_root_device: false,
            is_read_only,
            cache_type: CacheType::Unsafe,
            io_engine: None,
            rate_limiter: None,
        }
    }
}

impl Request for Drive {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        format!("/drives/{}", self.drive_id)
    }

    fn check(&self, _version: Version) -> Result<(), ApiError> {
        self.check_id(&self.drive_id)
    }
}
