//! How a machine stands.
//!
//! ```text
//!  create ─▶ Creating ─▶ Booting ─▶ Ready ─▶ Starting ─▶ Busy ─▶ Stopping ─▶ (row gone)
//!               │           │         │          │         │      ▲  ▲
//!               └───────────┴─────────┴──────────┴─────────┴──────┘  │
//!                 │         │         │          │         │         │
//!                 └─────────┴─── failure, if held ─────────┴─▶ Held ─┘ reaped, or let go
//!                 failure, cancel, scale-down (never from Starting or Busy), shutdown
//! ```

use std::fmt;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{JobId, MachineId, Outcome, PhaseTimes, PoolName, Shape, StartMode};

/// A machine's state. The state `Stopping` ends only with the row's removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// Image, scratch disk, network and VMM process are being made.
    Creating,
    /// The guest boots; the agent has not spoken.
    Booting,
    /// The agent is up and the machine waits for work.
    Ready,
    /// Work is bound to it and being delivered.
    Starting,
    /// The work runs.
    Busy,
    /// It failed, or its job did, and it is kept for a while to be looked into.
    Held,
    /// Being undone.
    Stopping,
}

impl MachineState {
    /// Counts as capacity for a job that is queued now.
    pub const fn is_idle_capacity(self) -> bool {
        matches!(self, Self::Creating | Self::Booting | Self::Ready)
    }

    /// Has a job, which scale-down must not touch.
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Starting | Self::Busy)
    }

    /// The name used in JSON, tables and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Booting => "booting",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Busy => "busy",
            Self::Held => "held",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for MachineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A journaled step: written before the effect it names. After a crash the last entry says how far a machine
/// may have come, and teardown undoes that and everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The row exists: id, slot, shape.
    Created,
    /// The image is being made ready and pinned.
    Image,
    /// Run directory, scratch disk, tap, address and rules are being made.
    // What a version before wrote between the two; undoing from here undoes it.
    #[serde(alias = "scratch")]
    Net,
    /// The VMM process is being started.
    Spawn,
    /// The VMM process runs: pid and start time are in the row.
    Spawned,
    /// The agent spoke.
    Agent,
    /// The machine waits for work.
    Ready,
    /// Work is bound to the machine.
    Assign,
    /// The work's process was asked for.
    Run,
    /// The work runs.
    Running,
    /// The result came and is being told to the forge.
    Report,
    /// The forge knows; the machine is kept to be looked into.
    Hold,
    /// The forge knows; teardown begins.
    Teardown,
}

impl Step {
    /// All steps in order.
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::Image,
        Self::Net,
        Self::Spawn,
        Self::Spawned,
        Self::Agent,
        Self::Ready,
        Self::Assign,
        Self::Run,
        Self::Running,
        Self::Report,
        Self::Hold,
        Self::Teardown,
    ];

    /// The name used in the journal and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Image => "image",
            Self::Net => "net",
            Self::Spawn => "spawn",
            Self::Spawned => "spawned",
            Self::Agent => "agent",
            Self::Ready => "ready",
            Self::Assign => "assign",
            Self::Run => "run",
            Self::Running => "running",
            Self::Report => "report",
            Self::Hold => "hold",
            Self::Teardown => "teardown",
        }
    }
}

/// What kind of thing went wrong; decides whether the pool backs off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The image could not be had or converted.
    Image,
    /// The host could not make a resource (disk, tap, process).
    Host,
    /// The guest did not come up in time, panicked or broke the protocol.
    Guest,
    /// The VMM process died.
    Vmm,
    /// The forge refused or was out of reach.
    Forge,
    /// Its runner ended before a job came.
    Runner,
    /// Its job failed. The machine did what it should: no reason to back off.
    Job,
}

/// Why a machine is being stopped although nobody asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Failure {
    /// Kind.
    pub kind: FailureKind,
    /// One line for people: what failed, on what, why, what to do.
    pub message: String,
}

/// A machine as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MachineView {
    /// Its id.
    pub id: MachineId,
    /// Its pool.
    pub pool: PoolName,
    /// Its shape.
    pub shape: Shape,
    /// State.
    pub state: MachineState,
    /// Last journaled step.
    pub step: Step,
    /// The job bound to it.
    pub job: Option<JobId>,
    /// VMM process.
    pub pid: Option<u32>,
    /// Guest address.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = Ipv4))]
    pub address: Option<Ipv4Addr>,
    /// Why it is being stopped, if it failed.
    pub failure: Option<Failure>,
    /// Finished phases.
    #[cfg_attr(feature = "schema", schema(value_type = std::collections::BTreeMap<String, u64>))]
    pub phases: PhaseTimes,
    /// When the row was written.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
    /// When the state was entered.
    #[cfg_attr(feature = "schema", schema(value_type = String, format = DateTime))]
    pub state_since: Timestamp,
    /// Until when a held machine stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub held_until: Option<Timestamp>,
    /// Seconds for which it is to be held once its job has ended, because an operator wants to look into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_secs: Option<u64>,
    /// How it was started; absent before its VMM process runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<StartMode>,
    /// The result of its job, if it is known but could not be reported to the forge yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrecorded: Option<Unrecorded>,
}

/// A job's result that is known, but not recorded yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Unrecorded {
    /// How the job ended.
    pub outcome: Outcome,
    /// Why the last attempt to record it failed, for people.
    pub why: String,
}
