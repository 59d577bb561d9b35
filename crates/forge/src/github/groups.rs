//! Whose jobs a pool's runner group takes. GitHub gives runners no job of another repository, however well its labels fit: a
//! runner that is made for one waits in vain.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fireactions_github::{ListedRepository, RunnerGroup};
use fireactions_model::{GithubScope, PoolName, PoolSpec};

use super::rules::Served;
use super::{Error, GithubRemote};
use crate::hosted::HostedForge;
use crate::hosted::problems::Concern;

/// Repositories with jobs that wait for a pool in vain, because of its group.
pub(super) type Kept = BTreeMap<PoolName, BTreeSet<String>>;

/// Repositories that are named to people; there may be thousands.
const NAMED: usize = 5;

/// Looks up what the groups of the scope's pools take. Those of an enterprise are not looked up, for its repositories are not
/// known; a repository has none.
pub(super) async fn look(
    remote: &GithubRemote,
    scope: &GithubScope,
    pools: &[PoolSpec],
    repositories: &[ListedRepository],
) -> Result<(), Error> {
    if !matches!(scope, GithubScope::Organization(_)) {
        return Ok(());
    }
    let all = match remote.inner.github.runner_groups(scope).await {
        Ok(all) => all,
        Err(error) if error.is_transient() => return Err(error.into()),
        Err(error) => {
            tracing::debug!(%scope, %error, "the runner groups cannot be looked up; assuming that they accept all repositories");
            return Ok(());
        }
    };
    let public: HashSet<_> =
        repositories.iter().filter(|listed| listed.public).map(|listed| listed.repository.clone()).collect();
    for pool in pools.iter().filter(|pool| pool.scale_set().is_none()) {
        let Some(runner) = pool.github() else { continue };
        let id = match remote.group(runner).await {
            Ok(id) => id,
            Err(error) if error.is_transient() => return Err(error),
            // It is told when a runner is registered.
            Err(_) => continue,
        };
        let Some(group) = all.iter().find(|group| group.id == id) else { continue };
        let only = if group.is_selective() { Some(selected(remote, scope, group).await?) } else { None };
        let not = if group.takes_public() { HashSet::new() } else { public.clone() };
        remote.inner.rules.set_served(&pool.name, Served { only, not });
    }
    Ok(())
}

async fn selected(
    remote: &GithubRemote,
    scope: &GithubScope,
    group: &RunnerGroup,
) -> Result<HashSet<fireactions_github::Repository>, Error> {
    Ok(remote.inner.github.group_repositories(scope, group.id).await?.into_iter().collect())
}

/// Tells people at the pools which repositories wait in vain.
pub(super) fn tell(forge: &HostedForge, pools: &[PoolSpec], kept: &Kept) {
    for pool in pools {
        let problem = kept.get(&pool.name).map(|repositories| {
            let named: Vec<&str> = repositories.iter().take(NAMED).map(String::as_str).collect();
            let more = repositories.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(
                "jobs of {}{more} have this pool's labels, but its runner group does not accept them; give these repositories access to the group in the organization's settings (public repositories must be allowed), or give these jobs other labels",
                named.join(", ")
            )
        });
        forge.set_problem(&pool.name, Concern::Group, problem);
    }
}
