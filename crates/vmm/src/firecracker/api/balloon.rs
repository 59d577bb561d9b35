//! The balloon, which takes memory back from a guest.

use std::ops::Not;

use serde::{Deserialize, Serialize};

use super::request::{Method, Request};
use super::{ApiError, Feature, Version};

/// `PUT /balloon`. Before the start only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Balloon {
    /// Memory that the guest shall do without, in MiB; not more than it has.
    pub amount_mib: u32,
    /// Whether a guest that runs out of memory gets it back.
    pub deflate_on_oom: bool,
    /// Seconds between two updates of the statistics. 0: none, and they cannot be turned on later.
    pub stats_polling_interval_s: u16,
    /// The guest gives what it frees back by itself. Since [`Feature::FreePageReporting`], as a preview.
    #[serde(skip_serializing_if = "Not::not")]
    pub free_page_reporting: bool,
    /// The host may ask for what is free. Since [`Feature::FreePageHinting`].
    #[serde(skip_serializing_if = "Not::not")]
    pub free_page_hinting: bool,
}

impl Request for Balloon {
    type Answer = ();
    const METHOD: Method = Method::Put;

    fn path(&self) -> String {
        "/balloon".into()
    }

    fn check(&self, version: Version) -> Result<(), ApiError> {
        version.require_if(self.free_page_reporting, Feature::FreePageReporting)?;
        version.require_if(self.free_page_hinting, Feature::FreePageHinting)
    }
}

/// `PATCH /balloon`: another size, at any time. The guest gets there in its own time, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BalloonUpdate {
    /// As in [`Balloon`], in MiB.
    pub amount_mib: u32,
}

impl Request for BalloonUpdate {
    type Answer = ();
    const METHOD: Method = Method::Patch;
    fn path(&self) -> String {
        "/balloon".into()
    }
}

/// What `GET /balloon/statistics` answers. All but the four that are always there come from the guest, which may lie.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct BalloonStatistics {
    /// Size asked for, in pages of 4 KiB.
    pub target_pages: u64,
    /// Size reached, in pages of 4 KiB.
    pub actual_pages: u64,
    /// Size asked for, in MiB.
    pub target_mib: u64,
    /// Size reached, in MiB.
    pub actual_mib: u64,
    /// Bytes that the guest does not use at all.
    #[serde(default)]
    pub free_memory: Option<u64>,
    /// Bytes that the guest has in total.
    #[serde(default)]
    pub total_memory: Option<u64>,
    /// Bytes that new programs in the guest could have without swapping.
    #[serde(default)]
    pub available_memory: Option<u64>,
    /// Bytes of the guest's page cache that it can do without.
    #[serde(default)]
    pub disk_caches: Option<u64>,
    /// Page faults that needed input or output, since the guest booted.
    #[serde(default)]
    pub major_faults: Option<u64>,
    /// Processes that the guest killed for want of memory. From guests since Linux 6.12.
    #[serde(default)]
    pub oom_kill: Option<u64>,
}

/// `GET /balloon/statistics`. Refused when the balloon was made without statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GetBalloonStatistics;

impl Request for GetBalloonStatistics {
    type Answer = BalloonStatistics;
    const METHOD: Method = Method::Get;
    fn path(&self) -> String {
        "/balloon/statistics".into()
    }
}
