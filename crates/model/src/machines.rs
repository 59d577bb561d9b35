//! Machines, as a pool sees them.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{MachineId, MachineView, PoolName, Shape};

/// What a pool asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMachine {
    /// For which pool; the implementation knows the pool's kernel, network and deadlines.
    pub pool: PoolName,
    /// Of what shape.
    pub shape: Shape,
}

/// What of the host's budget nothing needs: no machine that there is or is being made, and no job that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spare {
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// What a machine costs beside its guest memory, in MiB.
    pub machine_overhead_mib: u32,
}

impl Spare {
    /// One more machine of this shape has room.
    pub fn holds(&self, shape: &Shape) -> bool {
        let memory = u64::from(shape.memory_mib) + u64::from(self.machine_overhead_mib);
        u32::from(shape.vcpus) <= self.vcpus && memory <= self.memory_mib
    }
}

/// Why a machine was not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The server is stopping.
    #[error("the server is shutting down and takes no new machines")]
    Closed,
    /// The pool is not known.
    #[error("there is no pool '{0}'")]
    NoPool(PoolName),
    /// No row, address or uid could be had.
    #[error("no room for a machine: {0}")]
    Exhausted(String),
    /// The journal could not be written.
    #[error("the state store refused the machine: {0}")]
    Store(String),
}

/// Why a machine is not being removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetireError {
    /// It got a job in the meantime.
    #[error("machine {0} has a job and is not removed")]
    Busy(MachineId),
    /// Gone already.
    #[error("there is no machine {0}")]
    Unknown(MachineId),
}

/// The pool's hands. Calls begin things and return; how it goes is seen in the views.
#[async_trait]
pub trait Machines: Send + Sync {
    /// Writes a row and begins a machine. Returns once the row is durable.
    async fn create(&self, new: NewMachine) -> Result<MachineId, CreateError>;

    /// Begins to take a machine without a job down. Refuses a busy one.
    async fn retire(&self, id: &MachineId, why: &str) -> Result<(), RetireError>;

    /// Every machine that has a row. Shared: a thousand of them are looked at many times a second.
    fn views(&self) -> Vec<Arc<MachineView>>;

    /// Hears what is spare, as of the pools' latest look, before what that look decided is done. What is made beside the
    /// machines (templates) keeps within it, and gives way when it shrinks.
    fn spare(&self, _spare: Spare) {}

    /// Returns when a view changed since the last return of this call. May return early.
    async fn changed(&self);
}
