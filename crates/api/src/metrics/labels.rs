//! Labels that not every pool has.

use fireactions_model::{ForgeRunner, GiteaScope, GithubScope, PoolView};

/// Labels that not every pool, or every series, has.
pub(super) type Labels = Vec<(&'static str, String)>;

/// The labels of a pool's series.
pub(super) fn labels(pool: &PoolView, organization: bool, more: &[(&'static str, &'static str)]) -> Labels {
    let mut labels = vec![("pool", pool.spec.name.to_string())];
    if organization && let Some(owner) = owner(pool) {
        labels.push(("organization", owner));
    }
    labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    labels
}

/// Whose runners they are, as far as that is somebody with a name.
fn owner(pool: &PoolView) -> Option<String> {
    Some(match &pool.spec.forge.as_ref()?.runner {
        ForgeRunner::Github(runner) => match &runner.scope {
            GithubScope::Organization(name) | GithubScope::Enterprise(name) => name.clone(),
            GithubScope::Repository { owner, .. } => owner.clone(),
        },
        ForgeRunner::Gitea(runner) | ForgeRunner::Forgejo(runner) => match &runner.scope {
            GiteaScope::Organization(name) => name.clone(),
            GiteaScope::Repository { owner, .. } => owner.clone(),
            GiteaScope::Instance | GiteaScope::User => return None,
        },
    })
}
