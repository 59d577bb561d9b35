//! The host's cache of jobs: a runner's machine is let in when it is given its work, and put out when that has ended. Whose its job
//! is, the forge says; until then it shares nothing.

use std::fmt::Display;
use std::time::{Duration, Instant};

use fireactions_model::{ExponentialBackoff, JobId, JobRecord, MachineId, Origin, RemoteJob, Secret};

use super::{HostedForge, lock};

/// A job that was not asked about for so long is over.
const FORGET: Duration = Duration::from_secs(900);

/// What caused a job is being asked, or will be again.
pub(super) struct Asked {
    /// Not before; none while it is asked.
    next: Option<Instant>,
    pauses: ExponentialBackoff,
}

impl Default for Asked {
    fn default() -> Self {
        let pauses = ExponentialBackoff::new(Duration::from_secs(1), Duration::from_secs(300));
        Self { next: None, pauses }
    }
}

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

    /// Asks the forge by `ask` what caused the runner's job, unless it is being asked, and tells the cache. What fails is tried again
    /// at a later look: a token may never be allowed to know.
    pub(crate) fn confirm_in_cache<E: Display + Send>(
        &self,
        row: &JobId,
        machine: &MachineId,
        ask: impl Future<Output = Result<Option<Origin>, E>> + Send + 'static,
    ) {
        let Some(caches) = self.inner.settings.caches.clone() else { return };
        {
            let (mut asking, now) = (lock(&self.inner.asking), Instant::now());
            asking.retain(|_, asked| asked.next.is_none_or(|next| now < next + FORGET));
            match asking.get_mut(row) {
                Some(asked) if asked.next.is_none_or(|next| now < next) => return,
                Some(asked) => asked.next = None,
                None => drop(asking.insert(row.clone(), Asked::default())),
            }
        }
        let (forge, row, machine) = (self.clone(), row.clone(), machine.clone());
        tokio::spawn(async move {
            match ask.await {
                Ok(Some(origin)) => {
                    caches.confirm(&machine, &origin).await;
                    lock(&forge.inner.asking).remove(&row);
                    return;
                }
                Ok(None) => tracing::debug!(job = %row, "the forge does not say what caused the job"),
                Err(error) => tracing::debug!(job = %row, %error, "what caused the job is not known yet"),
            }
            if let Some(asked) = lock(&forge.inner.asking).get_mut(&row) {
                asked.next = Some(Instant::now() + asked.pauses.failed(rand::random()));
            }
        });
    }
}
