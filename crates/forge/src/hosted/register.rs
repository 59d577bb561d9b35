//! Registration: a row with a name becomes a runner with a credential.

use std::time::Duration;

use fireactions_model::{ExponentialBackoff, ForgeError, JobRecord, Offer, RemoteJob, Secret};
use tokio::time::{Instant, sleep};

use super::HostedForge;
use super::error::Error;
use super::problems::Concern;
use super::remote::Deleted;
use crate::refusal::forge_error;

/// For all tries at one runner. Its machine is given up then; the job waits at the forge and gets another.
const DEADLINE: Duration = Duration::from_secs(300);
/// First and longest pause between two tries, in quarters of [`pace`](super::HostedSettings::pace); before what the forge
/// itself asks for.
const PAUSES: (u32, u32) = (1, 80);
/// Tries at a name that is taken by what an earlier try left, with the pauses between them: the forge's list of runners,
/// where its number is found, may be seconds behind.
const TAKEN: u32 = 8;

impl HostedForge {
    /// Registers the machine's runner, with patience, and keeps its credential until the program runs.
    pub(super) async fn register(&self, offer: &Offer, record: &JobRecord) -> Result<Secret, ForgeError> {
        let Some(remote) = record.remote.clone() else {
            return Err(ForgeError::Refused(format!("job {} is not a forge's runner", record.id)));
        };
        let name = remote.runner.clone().unwrap_or_default();
        let pool = &offer.pool.name;
        let end = Instant::now() + DEADLINE;
        let quarter = self.inner.settings.pace / 4;
        let mut pauses = ExponentialBackoff::new(quarter * PAUSES.0, quarter * PAUSES.1);
        let mut taken = 0;
        let registered = loop {
            let error = match self.inner.remote.register(self, offer, &name).await {
                Ok(registered) => break registered,
                Err(error) => error,
            };
            if error.is_name_taken() && taken < TAKEN {
                // An earlier try was cut off between the forge's answer and our disk: nobody has that credential.
                taken += 1;
                match self.delete_named(&remote.scope, &name).await {
                    Ok(true) => continue,
                    Ok(false) => tracing::debug!(%name, "an earlier runner with this name is not listed yet"),
                    Err(error) => {
                        tracing::debug!(%name, %error, "an earlier runner with this name could not be removed");
                    }
                }
                sleep(pauses.failed(rand::random())).await;
                continue;
            }
            let text = format!("no runner could be registered: {error}");
            self.set_problem(pool, Concern::Registering, Some(text.clone()));
            if !error.is_transient() {
                return Err(ForgeError::Refused(text));
            }
            let wait = pauses.failed(rand::random()).max(error.retry_after().unwrap_or_default());
            if Instant::now() + wait >= end {
                return Err(ForgeError::Unavailable { message: text, retry_after: error.retry_after() });
            }
            sleep(wait).await;
        };
        let remote = RemoteJob { runner_id: Some(registered.id), ..remote };
        let store = &self.inner.store;
        store
            .set_credential(&record.id, &remote, registered.credential.clone())
            .await
            .map_err(forge_error)?;
        self.inner.counts.registered();
        self.set_problem(pool, Concern::Registering, None);
        Ok(registered.credential)
    }

    /// Removes the runner of this name, if the forge lists it and it has no job. Gives whether it is gone.
    async fn delete_named(&self, scope: &str, name: &str) -> Result<bool, Error> {
        let runners = self.inner.remote.runners(scope).await?;
        let found = runners.iter().flatten().find(|found| found.name == name);
        let Some(found) = found else { return Ok(false) };
        Ok(self.inner.remote.delete(scope, found.id).await? == Deleted::Gone)
    }
}
