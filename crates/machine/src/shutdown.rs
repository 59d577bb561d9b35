//! The end of a server: idle machines go, and those with a job run on for the next server, or end first.

use std::time::Duration;

use fireactions_model::{MachineState, MachineView, Machines, ShutdownMode};
use tokio::time::{Instant, timeout, timeout_at};

use crate::machinery::Machinery;

/// Undoing machines may take this long.
const UNDO_DEADLINE: Duration = Duration::from_secs(60);
/// What is being made or undone at a handover gets this long to be done with.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a machine is left as by [`ShutdownMode::Leave`].
fn stays(view: &MachineView) -> bool {
    view.state.is_busy() || view.state == MachineState::Held
}

impl Machinery {
    /// Takes no new machines, lets those without work go, and does with the others as `mode` says; `deadline` bounds
    /// [`ShutdownMode::Wait`]. Machines that are held are left where those with work are, and else go last; none is waited for.
    ///
    /// Returns the number of machines that are not undone: those left, and, after a minute, those that could not be.
    /// Their rows stay for the next start. Dropping the future leaves whatever is there to the next start.
    pub async fn shutdown(&self, mode: ShutdownMode, deadline: Duration) -> usize {
        self.close();
        if mode != ShutdownMode::Leave {
            // Nobody could look into it.
            self.hold_no_more();
        }
        tokio::join!(self.retire_all(), self.templates().close());
        match mode {
            ShutdownMode::Leave => {
                let _ = timeout_at(Instant::now() + UNDO_DEADLINE, self.until_all(stays)).await;
                self.detach_tasks().await;
            }
            ShutdownMode::Wait => {
                let until = Instant::now() + deadline;
                let done = |view: &MachineView| view.state == MachineState::Held;
                let why = match timeout_at(until, self.until_all(done)).await {
                    Ok(()) => "the server was stopped",
                    Err(_) => "the server was stopped and its shutdown deadline passed",
                };
                self.kill_all(why).await;
            }
            ShutdownMode::Kill => self.kill_all("the server was stopped with shutdown.mode 'kill'").await,
        }
        self.views().len()
    }

    /// Takes no new machines and waits for those that are just being made or undone, ten seconds at most: what can be
    /// done of a handover while everything else goes on.
    pub async fn settle(&self) {
        self.close();
        let settled =
            |view: &MachineView| !matches!(view.state, MachineState::Creating | MachineState::Stopping);
        let _ = timeout_at(Instant::now() + SETTLE_DEADLINE, async {
            tokio::join!(self.until_all(settled), self.templates().close())
        })
        .await;
    }

    /// Ends every machine's task where it is, for a handover: nothing is retired or undone, and the next server takes
    /// over everything, idle machines too. [`Machinery::settle`] comes before.
    pub async fn detach(&self) {
        self.close();
        self.templates().close().await;
        self.detach_tasks().await;
        // A change of the rules goes on without the task that asked for it.
        self.parts().network.settled().await;
    }

    async fn kill_all(&self, why: &str) {
        for view in self.views() {
            if let Some(job) = view.job.as_ref().filter(|_| view.state != MachineState::Held) {
                tracing::warn!(machine = %view.id, %job, "killed: {why}");
            }
            self.kill(&view.id, why);
        }
        let _ = timeout_at(Instant::now() + UNDO_DEADLINE, self.until_all(|_| false)).await;
    }

    /// Asks every machine without work to go. Held ones have none, and are spared here.
    async fn retire_all(&self) {
        let idle =
            self.views().into_iter().filter(|view| view.state != MachineState::Stopping && !stays(view));
        let asked = idle.map(|view| async move {
            if let Err(error) = self.retire(&view.id, "the server is stopping").await {
                tracing::debug!(%error, "not retired");
            }
        });
        futures::future::join_all(asked).await;
    }

    /// Returns once all machines that there are, if any, are as wanted.
    async fn until_all(&self, wanted: impl Fn(&MachineView) -> bool) {
        while !self.every(&wanted) {
            // Another waiter may get the notification for this change instead.
            let _ = timeout(LOOK_AGAIN, self.changed()).await;
        }
    }
}
