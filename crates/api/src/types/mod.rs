//! What goes over the wire, beside the types of the model.

mod cache;
mod exec;
mod host;
mod image;
mod job;
mod pool;
mod status;

pub use cache::{
    ActionsCacheView, CacheCounts, CacheEntryView, CacheGcReport, CacheGcRequest, CachesView, MirrorView,
    RegistryCacheView,
};
pub use exec::{ExecEvent, ExecExit, ExecInput, ExecRequest, WindowSize};
pub use host::{DrainRequest, REASON_MAX};
pub use image::{GcReport, GcRequest, ImageView, PullEvent, PullRequest, PullStatus, Removed};
pub use job::{JOB_WITH_FILES, JobFilter, LogChunk, LogEnd};
pub use pool::ScaleRequest;
pub use status::{Readiness, Version};
