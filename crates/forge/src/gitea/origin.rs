//! What caused a job, by the forge's own word.

use fireactions_gitea::{Error, Job};
use fireactions_model::{ForgeName, Origin};

use super::GiteaRemote;

/// Asks the forge for it.
pub(super) async fn ask(remote: GiteaRemote, forge: ForgeName, job: Job) -> Result<Option<Origin>, Error> {
    let found = remote.inner.gitea.origin(&job).await?;
    Ok(found.map(|found| Origin {
        forge,
        repository: found.repository,
        repository_id: found.repository_id,
        default_branch: found.default_branch,
        event: found.event,
        reference: found.reference,
    }))
}
