//! The words every part of fireactions shares: ids, specs, states, events, and the two traits that keep the
//! parts apart. No IO and no runtime lives here, so that every rule in this crate can be tested as plain data.

mod autopsy;
mod event;
mod exponential_backoff;
mod forge;
mod forge_view;
mod gitea;
mod github;
mod github_url;
mod guest_setup;
mod hardware;
mod host;
mod ids;
mod image_source;
mod input_file;
mod job;
mod job_caches;
mod machine;
mod machines;
pub mod network_rules;
mod phase;
mod pool;
mod pool_forge;
mod pool_view;
mod remote;
#[cfg(feature = "schema")]
mod secs_nanos;
mod service;
mod sharing;
mod shutdown;
mod spec_rules;
mod sticky;
mod trace;
mod waiting;
mod work;

pub use autopsy::Autopsy;
pub use event::Event;
pub use exponential_backoff::ExponentialBackoff;
pub use forge::{Cancel, Demand, DemandSource, Forge, ForgeError, Offer, Release, Verdict};
pub use forge_view::{ForgeView, RateLimit, RemoteView};
pub use gitea::{GiteaRunner, GiteaScope};
pub use github::{GithubRunner, GithubScope, RunnerGroup};
pub use github_url::{GithubUrlError, github_api, is_bare, is_on_this_host, is_private};
pub use guest_setup::GuestSetup;
pub use hardware::{DiskLimits, Hardware, HugePages, MmdsVersion, StartMode};
pub use host::{Drained, HostBudget, HostView, Share};
pub use ids::{
    ClusterHost, ClusterName, Digest, ForgeName, IdError, ImageRef, JobId, Label, Labels, MachineId, PoolName,
};
pub use image_source::{ImageSource, RemoteImage, Select};
pub use input_file::{FileKind, InputFile};
pub use job::{JobRecord, JobSpec, JobState, Program, RetryPolicy};
pub use job_caches::{JobCaches, Origin};
pub use machine::{Failure, FailureKind, MachineState, MachineView, Step, Unrecorded};
pub use machines::{CreateError, Machines, NewMachine, RetireError, Spare};
pub use phase::{Phase, PhaseTimes};
pub use pool::{
    Deadlines, InitMode, KernelSpec, NetworkPolicy, OnFailure, PoolSpec, PortRule, Protocol, PullPolicy,
    Shape,
};
pub use pool_forge::{ForgeRunner, PoolForge};
pub use pool_view::{Backoff, PoolOverride, PoolView};
pub use remote::{QueuedJob, RemoteJob};
#[cfg(feature = "schema")]
pub use secs_nanos::SecsNanos;
pub use service::{ServiceReadiness, ServiceSpec};
pub use sharing::{AssignedJobs, ForgeReport, ForgeShare, PoolReport, Room, RunnerWord};
pub use shutdown::ShutdownMode;
pub use spec_rules::{SpecLimits, SpecProblem};
pub use sticky::StickyDir;
pub use trace::{TraceCounts, TraceId};
pub use waiting::{Place, WaitReason};
pub use work::{
    ARTIFACT_NOTE, Artifact, Outcome, Output, Report, Secret, Stream, Usage, Work, WorkFile, WorkSource,
};
