//! The forge's word on whether a machine may go.

use std::time::Duration;

use fireactions_model::{JobId, MachineId, MachineState, Release};
use tokio::time::timeout;

use crate::parts::Parts;
use crate::record::Record;

const DEADLINE: Duration = Duration::from_secs(20);

/// Whether the forge may have bound work to this machine that its row does not tell of: it, or the server before, may
/// have ended between the two.
pub(crate) fn may_have_work(record: &Record) -> bool {
    record.view().state == MachineState::Ready && record.view().job.is_none()
}

/// Whether a machine without known work may go. One that is not ready yet was never offered.
pub(crate) async fn may_go(parts: &Parts, record: &Record) -> bool {
    !may_have_work(record) || released(parts, record.id()).await
}

/// Tells the forge that a machine is no more of which no work is known: none will be bound to it. Returns the work that
/// was bound to it already.
pub(crate) async fn deregister(parts: &Parts, machine: &MachineId) -> Option<JobId> {
    match timeout(DEADLINE, parts.forge.release(machine)).await {
        Ok(Ok(Release::Idle)) => None,
        Ok(Ok(Release::Bound(job))) => Some(job),
        Ok(Err(error)) => {
            tracing::warn!(%machine, %error, "the forge did not accept a release; its own audit will find \
                 the runner");
            None
        }
        Err(_) => {
            tracing::warn!(%machine, "the forge did not answer a release; its own audit will find the runner");
            None
        }
    }
}

/// Asks the forge to let the machine go. False when work is bound to it after all, or when the forge cannot say.
pub(crate) async fn released(parts: &Parts, machine: &MachineId) -> bool {
    match timeout(DEADLINE, parts.forge.release(machine)).await {
        Ok(Ok(Release::Idle)) => true,
        Ok(Ok(Release::Bound(_))) => false,
        Ok(Err(error)) => {
            tracing::warn!(%machine, %error, "the forge could not release the machine; it stays");
            false
        }
        Err(_) => {
            tracing::warn!(%machine, "the forge did not answer a release within {DEADLINE:?}; the machine stays");
            false
        }
    }
}
