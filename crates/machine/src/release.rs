//! The forge's word on whether a machine may go.

use std::pin::Pin;
use std::time::Duration;

use fireactions_model::{ForgeError, JobId, MachineId, MachineState, Release};
use tokio::sync::oneshot;
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
/// was bound to it already. The error says why the forge must be asked again: until it has answered, there may be work
/// whose end nobody else would report.
pub(crate) async fn deregister(parts: &Parts, machine: &MachineId) -> Result<Option<JobId>, String> {
    match timeout(DEADLINE, parts.forge.release(machine)).await {
        Ok(Ok(Release::Idle)) => Ok(None),
        Ok(Ok(Release::Bound(job))) => Ok(Some(job)),
        Ok(Err(ForgeError::Unavailable { message, .. })) => Err(message),
        Ok(Err(error)) => {
            tracing::warn!(%machine, %error, "the forge refused to release a machine");
            Ok(None)
        }
        Err(_) => Err(format!("no answer within {DEADLINE:?}")),
    }
}

/// The forge is being asked whether a machine may go.
pub(crate) struct Leaving<'a> {
    why: String,
    /// Gets the result.
    answers: Vec<oneshot::Sender<bool>>,
    released: Pin<Box<dyn Future<Output = bool> + Send + 'a>>,
}

impl<'a> Leaving<'a> {
    /// Hears one more that asks. `ask` is what is asked; it is not asked twice at a time.
    pub(crate) fn ask<F: Future<Output = bool> + Send + 'a>(
        leaving: &mut Option<Self>,
        why: String,
        answer: oneshot::Sender<bool>,
        ask: impl FnOnce() -> F,
    ) {
        let new = || Self { why, answers: Vec::new(), released: Box::pin(ask()) };
        leaving.get_or_insert_with(new).answers.push(answer);
    }

    /// The forge's word. Pends while it is not asked. Cancel-safe.
    pub(crate) async fn decided(leaving: &mut Option<Self>) -> bool {
        match leaving {
            Some(leaving) => leaving.released.as_mut().await,
            None => std::future::pending().await,
        }
    }

    /// Tells those who asked. Returns why the machine was to go.
    pub(crate) fn answer(self, goes: bool) -> String {
        for answer in self.answers {
            let _ = answer.send(goes);
        }
        self.why
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
