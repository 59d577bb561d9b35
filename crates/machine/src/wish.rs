//! An operator's wish: a machine is to be held once its job has ended, however it ends.
//!
//! The wish is written before anybody is told that it stands, and the machine's task looks at it once, when its job is over. Both do so
//! under one lock: who was told that the machine will be held is right, and who comes too late is told that.

use std::sync::Arc;
use std::time::Duration;

use fireactions_model::{Event, MachineId, MachineState, MachineView};
use fireactions_store::MachineChange;

use crate::machinery::Machinery;
use crate::parts::Parts;

/// Why a wish was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// Gone already.
    #[error("there is no machine {0}")]
    Unknown(MachineId),
    /// There is nothing yet to be looked into.
    #[error("machine {0} has no job")]
    Idle(MachineId),
    /// It is held, or goes.
    #[error("the job of machine {0} has ended, and whether it is held was decided")]
    Ended(MachineId),
    /// It would be refused when it counts.
    #[error("the server is stopping and holds no machine")]
    Stopping,
    /// The row could not be written.
    #[error("the state store refused the change: {0}")]
    Store(String),
}

impl Machinery {
    /// Has a machine held for so long once its job has ended, or takes that back. Returns once it is durable; carried out also if the
    /// caller goes away.
    ///
    /// # Errors
    /// When it has no job, its job has ended, or the row could not be written.
    pub async fn hold(&self, id: &MachineId, wished: Option<Duration>) -> Result<MachineView, HoldError> {
        let (machinery, id) = (self.clone(), id.clone());
        tokio::spawn(async move { machinery.hold_here(&id, wished).await })
            .await
            .unwrap_or_else(|error| Err(HoldError::Store(error.to_string())))
    }

    async fn hold_here(&self, id: &MachineId, wished: Option<Duration>) -> Result<MachineView, HoldError> {
        let decided = self.decided(id).ok_or_else(|| HoldError::Unknown(id.clone()))?;
        let decided = decided.lock().await;
        let view = self.view(id).ok_or_else(|| HoldError::Unknown(id.clone()))?;
        if *decided || matches!(view.state, MachineState::Held | MachineState::Stopping) {
            return Err(HoldError::Ended(id.clone()));
        }
        if view.job.is_none() {
            return Err(HoldError::Idle(id.clone()));
        }
        if wished.is_some() && self.views_of().holds_no_more() {
            return Err(HoldError::Stopping);
        }
        let Parts { store, events, .. } = self.parts();
        let secs = wished.map(|time| time.as_secs());
        let change = MachineChange { hold_secs: Some(secs), ..MachineChange::default() };
        store.change_machine(id, change).await.map_err(|error| HoldError::Store(error.to_string()))?;
        let view = self.views_of().wish(id, secs).ok_or_else(|| HoldError::Unknown(id.clone()))?;
        tracing::info!(machine = %id, secs, "whether the machine is held after its job was changed by an operator");
        let _ = events.send(Event::Machine { machine: Arc::clone(&view) });
        Ok(MachineView::clone(&view))
    }
}
