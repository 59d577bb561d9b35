//! What goes over the wire, beside the types of the model.

mod cache;
mod exec;
mod host;
mod image;
mod insight;
mod job;
mod live;
mod machine;
mod pool;
mod session;
mod status;

pub use cache::{
    ActionsCacheView, CacheCounts, CacheEntryView, CacheGcReport, CacheGcRequest, CachesView, MirrorCounts,
    MirrorView, ProxyView, RegistryCacheCounts, RegistryCacheView, StickyView, StickyVolumeView,
    WarmImageView,
};
pub use exec::{ExecEvent, ExecExit, ExecInput, ExecRequest, WindowSize};
pub use host::{DrainRequest, REASON_MAX};
pub use image::{GcReport, GcRequest, ImageView, PullEvent, PullRequest, PullStatus, Removed};
pub use insight::{ConfigEntry, ConfigView, DoctorFinding, DoctorVerdict, History, HistoryPoint, PoolPoint};
pub use job::{JOB_WITH_FILES, JobFilter, LogChunk, LogEnd};
pub(crate) use live::arrange;
pub use live::{ForgeLimits, LiveDelta, LiveGap, LiveGone, LivePing, LiveSnapshot};
pub use machine::{HOLD_MAX, HoldRequest, MachineUsage};
pub use pool::ScaleRequest;
pub use session::{Login, LoginWays, Role, Session, Via};
pub use status::{Readiness, Version};
