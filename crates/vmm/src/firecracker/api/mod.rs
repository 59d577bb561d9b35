//! A typed client of Firecracker's API: HTTP/1.1 with JSON over a Unix socket.
//!
//! Every endpoint that the driver uses is a plain struct that knows its method, its path and what it answers
//! ([`Request`]); [`Client::send`] sends one. Names, units and ranges are those of Firecracker's own description of its
//! API, `src/firecracker/swagger/firecracker.yaml`, against which the tests check every request and every answer.
//!
//! Firecracker refuses a request that has a field it does not know. What came later than [`Version::OLDEST`] is
//! therefore a [`Feature`] with the version that has it, and asking for it of an older one is an error before anything
//! is sent.
//!
//! The process at the other end has run a hostile guest and may be in its hands: waits and sizes are bounded, and
//! nothing that it says is trusted further than as words in a message.

mod action;
mod balloon;
mod boot_source;
mod client;
mod drive;
mod entropy;
mod error;
mod info;
mod limiter;
pub mod log;
mod mac;
mod machine_config;
pub mod metrics;
mod mmds;
mod network;
mod request;
mod snapshot;
mod text;
mod version;
mod vsock;

pub use action::{Action, SetState};
pub use balloon::{Balloon, BalloonStatistics, BalloonUpdate, GetBalloonStatistics};
pub use boot_source::BootSource;
pub use client::{Client, Connect};
pub use drive::{CacheType, Drive, IoEngine};
pub use entropy::Entropy;
pub use error::ApiError;
pub use info::{GetInstance, GetVersion, InstanceInfo, InstanceState, VersionAnswer};
pub use limiter::{RateLimiter, TokenBucket};
pub use mac::Mac;
pub use machine_config::{CpuTemplate, HugePages, MachineConfig};
pub use mmds::{MmdsConfig, MmdsContents, PutMmds};
pub use network::NetworkInterface;
pub use request::{MAX_BODY, Method, Request};
pub use snapshot::{
    MemoryBackend, NetworkOverride, SnapshotCreate, SnapshotHugePages, SnapshotLoad, SnapshotType,
    VsockOverride,
};
pub use version::{Feature, Version, VersionError};
pub use vsock::Vsock;
