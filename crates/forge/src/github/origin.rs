//! What caused a job, by the forge's own word.

use fireactions_github::RunId;
use fireactions_model::{ForgeName, Origin, PoolName, QueuedJob};

use super::{Error, GithubRemote};
use crate::hosted::HostedForge;

/// Asks what caused the jobs of the pool's runners whose machines the host's cache has let in and does not know yet.
pub(super) async fn look(remote: &GithubRemote, forge: &HostedForge, pool: &PoolName) {
    if forge.inner().settings.caches.is_none() {
        return;
    }
    let rows = match forge.inner().store.bound_jobs().await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::debug!(%pool, %error, "the store cannot be read, so the cache does not hear whose jobs these are");
            return;
        }
    };
    for row in rows.iter().filter(|row| row.pool.as_ref() == Some(pool)) {
        let its = row.remote.as_ref().filter(|remote| remote.forge == *forge.name());
        // The queue's word alone: what the runner says itself is a guest's, and a webhook tells of every runner of this name, wherever
        // it is registered.
        let told = its.and_then(|remote| remote.queue_says.clone());
        if let (Some(machine), Some(job)) = (forge.unconfirmed(row), told) {
            let (remote, name) = (remote.clone(), forge.name().clone());
            forge.confirm_in_cache(&row.id, machine, move || ask(remote.clone(), name.clone(), job.clone()));
        }
    }
}

async fn ask(remote: GithubRemote, forge: ForgeName, job: QueuedJob) -> Result<Option<Origin>, Error> {
    let Ok(repository) = job.repository.parse() else { return Ok(None) };
    let found = remote.inner.github.origin(&repository, RunId::new(job.run_id), &job.workflow_ref).await?;
    Ok(found.map(|found| Origin {
        forge,
        repository: found.repository,
        repository_id: found.repository_id,
        default_branch: found.default_branch,
        event: found.event,
        reference: found.reference,
    }))
}
