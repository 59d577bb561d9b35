//! The host's cache of jobs: a runner's machine is let in when it is given its work, and put out when that has ended. Whose its job
//! is, the forge says; until then it shares nothing.

use std::fmt::Display;
use std::time::Duration;

use fireactions_model::{ExponentialBackoff, JobId, JobRecord, MachineId, Origin, RemoteJob, Secret};

use super::{HostedForge, lock};

/// First and longest pause between two questions: a token may never be allowed to know.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

impl HostedForge {
    /// Lets the machine of a runner in, if its forge will say whose its job is. Gives where the job finds the cache.
    pub(super) async fn admit_to_cache(&self, machine: &MachineId, remote: &RemoteJob) -> Option<Secret> {
        let caches = self.inner.settings.caches.as_ref()?;
        if !self.inner.remote.tells_origin(remote) {
            return None;
        }
        caches.admit(machine).await
    }

    /// The machine's job is over.
    pub(super) async fn end_cache(&self, machine: &MachineId) {
        if let Some(caches) = &self.inner.settings.caches {
            caches.end(machine).await;
        }
    }

    /// The machine of a runner of which the cache does not know yet whose job it has.
    pub(crate) fn unconfirmed<'a>(&self, row: &'a JobRecord) -> Option<&'a MachineId> {
        let caches = self.inner.settings.caches.as_ref()?;
        row.machine.as_ref().filter(|machine| caches.is_open(machine))
    }

    /// Asks the forge by `ask` what caused the runner's job, unless it is being asked, and tells the cache; again and again, until it is
    /// known or the job is over.
    pub(crate) fn confirm_in_cache<E, F>(
        &self,
        row: &JobId,
        machine: &MachineId,
        ask: impl Fn() -> F + Send + Sync + 'static,
    ) where
        E: Display + Send,
        F: Future<Output = Result<Option<Origin>, E>> + Send,
    {
        let Some(caches) = self.inner.settings.caches.clone() else { return };
        if !lock(&self.inner.asking).insert(row.clone()) {
            return;
        }
        let (forge, row, machine) = (self.clone(), row.clone(), machine.clone());
        tokio::spawn(async move {
            let mut pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
            while caches.is_open(&machine) {
                match ask().await {
                    Ok(Some(origin)) => {
                        caches.confirm(&machine, &origin).await;
                        break;
                    }
                    Ok(None) => tracing::debug!(job = %row, "the forge does not say what caused the job"),
                    Err(error) => tracing::debug!(job = %row, %error, "what caused the job is not known yet"),
                }
                tokio::time::sleep(pauses.failed(rand::random())).await;
            }
            lock(&forge.inner.asking).remove(&row);
        });
    }
}
