//! A forge: who has jobs, hands them out and hears how they went.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{JobId, MachineId, Outcome, Output, PhaseTimes, PoolName, PoolSpec, Report, Shape, Work};

/// Jobs that wait for a pool now, by the shape of machine they need. Level-triggered: a full count each time,
/// never a difference.
pub type Demand = BTreeMap<Shape, u32>;

/// A ready machine, offered to a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The machine.
    pub machine: MachineId,
    /// Its pool; machines of one pool share it.
    pub pool: Arc<PoolSpec>,
    /// What it is made of (may differ from the pool's own shape).
    pub shape: Shape,
}

/// What a forge said when a machine left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// Nothing was bound to it; it is deregistered.
    Idle,
    /// A job is bound to it: the caller must not take it down.
    Bound(JobId),
}

/// Why a forge could not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// Out of reach or overloaded; try again, not before the given time.
    #[error("the forge is out of reach: {message}")]
    Unavailable {
        /// For people.
        message: String,
        /// The forge's own wish.
        retry_after: Option<Duration>,
    },
    /// It will not work by trying again.
    #[error("the forge refused: {0}")]
    Refused(String),
    /// The job is not (or no longer) this machine's.
    #[error("job {0} is not bound to this machine")]
    NotBound(JobId),
}

/// How work ended, by its forge's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome that counts.
    pub outcome: Outcome,
    /// Why the machine was made for nothing, where it was: its runner ended before a job came. The machine counts as failed then,
    /// whatever the outcome, so that its pool waits before it makes the next. For people.
    pub unused: Option<String>,
}

/// Why a job is to end before its program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// Somebody asked for it: its program has a moment to end in order.
    Asked,
    /// Its forge has it as over already: whatever its program still does counts for nothing.
    Over,
}

/// Who has jobs for pools. Webhooks and the like are hints inside an implementation; `demand` is the truth.
#[async_trait]
pub trait DemandSource: Send + Sync {
    /// Its name in logs and metrics, e.g. `local`.
    fn name(&self) -> &str;

    /// Whether this pool's jobs come from here. Each pool has one source.
    fn serves(&self, pool: &PoolSpec) -> bool;

    /// Most machines that each pool may have from now on: its maximum as it counts, 0 while the pool is paused or the host is
    /// drained. For forges that give jobs out by it; told before each look at the demand.
    fn set_capacity(&self, _capacity: &BTreeMap<PoolName, u32>) {}

    /// Jobs waiting for these pools now, all of which it serves.
    async fn demand(&self, pools: &[PoolSpec]) -> Result<BTreeMap<PoolName, Demand>, ForgeError>;

    /// Returns when demand may have changed since the last return of this call. May return early.
    async fn changed(&self);
}

/// A forge: who hands jobs out to machines and hears how they went.
#[async_trait]
pub trait Forge: Send + Sync {
    /// Waits until there is work for this machine and binds it durably before returning. Dropping the future
    /// is safe: what was bound is returned again to the next call for the same machine.
    async fn acquire(&self, offer: &Offer) -> Result<Work, ForgeError>;

    /// The machine goes away without work. Idempotent.
    async fn release(&self, machine: &MachineId) -> Result<Release, ForgeError>;

    /// The work's process runs.
    async fn started(&self, job: &JobId, machine: &MachineId) -> Result<(), ForgeError>;

    /// A piece of output. Waiting here is the back-pressure on the guest.
    async fn output(&self, job: &JobId, machine: &MachineId, output: Output) -> Result<(), ForgeError>;

    /// Returns when this job is to end, with why; never otherwise.
    async fn cancelled(&self, job: &JobId) -> Cancel;

    /// What the forge knows of how this work ended, beyond what its program's exit says: a hosted forge's runner
    /// returns 0 for a job that failed. Adds what people should know to `notes`.
    async fn judge(&self, job: &JobId, told: Outcome, notes: &mut Vec<String>) -> Verdict {
        let _ = (job, notes);
        Verdict { outcome: told, unused: None }
    }

    /// How it went. Idempotent: after a crash it is told again.
    async fn finished(&self, job: &JobId, machine: &MachineId, report: &Report) -> Result<(), ForgeError>;

    /// The machine that had the job is undone: its phases are complete now, teardown included. A hint for the
    /// record; forges without one need not care.
    async fn undone(&self, job: &JobId, machine: &MachineId, phases: &PhaseTimes) -> Result<(), ForgeError> {
        let _ = (job, machine, phases);
        Ok(())
    }
}
