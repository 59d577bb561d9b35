//! What caused a job, by the forge's own word.

use fireactions_github::{Repository, RunId};
use fireactions_model::{ForgeName, JobRecord, Origin, PoolName, QueuedJob};

use super::{Error, GithubRemote};
use crate::hosted::HostedForge;

/// Asks what caused the jobs of the pool's runners whose machines the host's cache has let in and does not know yet.
pub(super) async fn look(remote: &GithubRemote, forge: &HostedForge, pool: &PoolName) {
    let rows = match forge.inner().store.bound_jobs().await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::debug!(%pool, %error, "the store cannot be read, so the cache does not hear whose jobs these are");
            return;
        }
    };
    for row in rows.iter().filter(|row| row.pool.as_ref() == Some(pool)) {
        if let (Some(machine), Some(job)) = (forge.unconfirmed(row), Told::of(forge.name(), row)) {
            let (remote, name) = (remote.clone(), forge.name().clone());
            forge.confirm_in_cache(&row.id, machine, move || ask(remote.clone(), name.clone(), job.clone()));
        }
    }
}

/// What the queue of a scale set has told of a job.
#[derive(Clone)]
struct Told {
    repository: Repository,
    run: RunId,
    workflow_ref: String,
}

impl Told {
    /// None while a row's runner has no job by the queue's word. What the runner says itself is a guest's, and a webhook tells of every
    /// runner of this name, wherever it is registered.
    fn of(forge: &ForgeName, row: &JobRecord) -> Option<Self> {
        let remote = row.remote.as_ref().filter(|remote| remote.forge == *forge)?;
        let QueuedJob { repository, run_id, workflow_ref } = remote.queue_says.clone()?;
        Some(Self { repository: repository.parse().ok()?, run: RunId::new(run_id), workflow_ref })
    }
}

async fn ask(remote: GithubRemote, forge: ForgeName, job: Told) -> Result<Option<Origin>, Error> {
    let found = remote.inner.github.origin(&job.repository, job.run, &job.workflow_ref).await?;
    Ok(found.map(|found| Origin {
        forge,
        repository: found.repository,
        repository_id: found.repository_id,
        default_branch: found.default_branch,
        event: found.event,
        reference: found.reference,
    }))
}
