//! The end of a server: idle machines go, running jobs end first.

use std::time::Duration;

use fireactions_model::{MachineState, Machines};
use tokio::time::{Instant, timeout_at};

use crate::life::Ask;
use crate::machinery::Machinery;

/// Undoing killed machines may take this long after the deadline.
const KILL_DEADLINE: Duration = Duration::from_secs(60);

impl Machinery {
    /// Takes no new machines, retires those without work, waits for those with work until `deadline`, then kills
    /// the rest (their jobs are told lost). Returns the number of machines that are still not undone; their rows
    /// stay, and the next start undoes them.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.close();
        let until = Instant::now() + deadline;
        self.retire_idle().await;
        if timeout_at(until, self.emptied()).await.is_err() {
            for view in self.views() {
                tracing::warn!(machine = %view.id, job = ?view.job, "not done at the shutdown deadline; killed");
                self.ask(
                    &view.id,
                    Ask::Kill { why: "the server was stopped and its shutdown deadline passed".into() },
                );
            }
            let _ = timeout_at(Instant::now() + KILL_DEADLINE, self.emptied()).await;
        }
        self.views().len()
    }

    async fn retire_idle(&self) {
        let idle = self
            .views()
            .into_iter()
            .filter(|view| view.state != MachineState::Stopping && !view.state.is_busy());
        let asked = idle.map(|view| async move {
            if let Err(error) = self.retire(&view.id, "the server is stopping").await {
                tracing::debug!(%error, "not retired");
            }
        });
        futures::future::join_all(asked).await;
    }

    /// Returns once there is no machine. A machine that became busy in the meantime is retired by its own end.
    async fn emptied(&self) {
        loop {
            if self.views().is_empty() {
                return;
            }
            self.changed().await;
        }
    }
}
