//! Everything undone, in reverse. It is tried again until it works: a machine that cannot be undone keeps its row, so
//! that nothing it holds is given to another.

use std::time::Duration;

use fireactions_model::{ExponentialBackoff, Failure, Phase};
use tokio::time::timeout;

use crate::life::Life;
use crate::undo::{STEP_DEADLINE, undo};

const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Life {
    /// Undoes the machine, and removes its row.
    pub(crate) async fn teardown(&mut self, failure: Option<Failure>) {
        self.record.restart_clock();
        self.record.stopping(failure).await;
        let mut writer = self.release_sticky().await;
        let Self { pool, made, .. } = &mut *self;
        if let Some(vm) = &made.vm {
            // The scratch disk goes with the machine, so nothing else in the guest is worth waiting for: a guest that is
            // asked and does not end at once is killed.
            if let Some(link) = &made.link {
                let _ = timeout(Duration::from_millis(200), link.power_off()).await;
            }
            if timeout(pool.deadlines.shutdown, vm.exited()).await.is_err() {
                // One that survives may still write.
                writer = if vm.kill().await.is_some() { writer } else { None };
            }
        }
        if let Some(link) = &made.link {
            link.close();
        }
        if let Some(writer) = writer {
            self.keep_sticky(writer).await;
        }
        let Self { parts, record, made, .. } = &mut *self;
        let process = made.vm.as_ref().map(|vm| *vm.process());
        let mut pauses = ExponentialBackoff::new(Duration::from_millis(200), LONGEST_PAUSE);
        loop {
            match undo(parts, record.id(), process.as_ref()).await {
                Ok(()) => match record.remove().await {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::error!(machine = %record.id(), %error, "the machine's row could not be removed; trying again");
                    }
                },
                Err(error) => {
                    tracing::error!(machine = %record.id(), "teardown: {error}; trying again");
                }
            }
            tokio::time::sleep(pauses.failed(rand::random())).await;
        }
        fail::fail_point!("machine::row-gone");
        record.phase(Phase::Teardown);
        if let Some(job) = record.view().job.clone() {
            let told = timeout(STEP_DEADLINE, parts.forge.undone(&job, record.id(), &record.phases())).await;
            if !matches!(told, Ok(Ok(()))) {
                tracing::debug!(%job, "the forge did not accept the teardown's duration");
            }
        }
    }
}
