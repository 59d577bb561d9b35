//! Images in the server's store.

use fireactions_model::{Digest, ImageRef, PullPolicy};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// Content address.
    pub digest: Digest,
    /// Names under which it was requested.
    pub names: Vec<ImageRef>,
    /// Bytes on disk.
    pub size: u64,
    /// Bytes on disk of the templates that machines with this image are cloned from.
    #[serde(default)]
    pub templates: u64,
    /// A machine or a pool needs it now.
    pub in_use: bool,
    /// Converted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Last taken for a machine.
    #[schema(value_type = String, format = DateTime)]
    pub last_used: Timestamp,
}

/// What to pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// Where it comes from.
    pub image: ImageRef,
    /// When to ask the source; by default `Always`, because a user who pulls wants the newest.
    #[serde(default = "always")]
    pub policy: PullPolicy,
}

fn always() -> PullPolicy {
    PullPolicy::Always
}

/// The stage of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullStatus {
    /// The name is being resolved.
    Resolving,
    /// Layers are being fetched.
    Pulling,
    /// Layers are being made into one root image.
    Converting,
    /// It can be used.
    Ready,
}

/// A step of a pull. The last one is `Ready`, unless the pull fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PullEvent {
    /// Where it stands.
    pub status: PullStatus,
    /// Bytes done so far in this stage.
    #[serde(default)]
    pub done: u64,
    /// Total bytes of this stage, if known.
    #[serde(default)]
    pub total: Option<u64>,
    /// The result, with `Ready`.
    #[serde(default)]
    pub digest: Option<Digest>,
}

/// What to collect. Images in use always stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GcRequest {
    /// Remove the longest unused until no more than this many bytes are left; by default the configured limit.
    pub max_bytes: Option<u64>,
    /// Remove what was not used for this many seconds.
    pub unused_for_secs: Option<u64>,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// Content addresses.
    pub removed: Vec<Digest>,
}

/// The result of a garbage collection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GcReport {
    /// Content addresses.
    pub removed: Vec<Digest>,
    /// Bytes freed.
    pub freed: u64,
    /// Bytes left in the store.
    pub left: u64,
}
