//! What GitHub is asked for now and then: jobs whose webhook was lost, and scale sets and groups that are not what they
//! should be.

use std::collections::BTreeMap;
use std::time::Instant;

use fireactions_github::Repository;
use fireactions_model::{GithubScope, PoolSpec};

use super::{Error, GithubRemote, groups, job, scale_set};
use crate::hosted::HostedForge;
use crate::hosted::board::Waiting;

/// One scope's audit. What goes wrong hides nothing but itself; the first error is given at the end.
pub(super) async fn run(
    remote: &GithubRemote,
    forge: &HostedForge,
    scope: &GithubScope,
    pools: &[PoolSpec],
) -> Result<(), Error> {
    let mut audited = Ok(());
    for pool in pools {
        audited = audited.and(scale_set::audit(remote, forge, pool).await);
    }
    let queues = pools.iter().any(|pool| pool.scale_set().is_none());
    if queues { audited.and(jobs(remote, forge, scope, pools).await) } else { audited }
}

/// Jobs that wait in the scope's repositories.
async fn jobs(
    remote: &GithubRemote,
    forge: &HostedForge,
    scope: &GithubScope,
    pools: &[PoolSpec],
) -> Result<(), Error> {
    let began = Instant::now();
    let repositories = remote.inner.github.repositories(scope).await?;
    let mut failed = groups::look(remote, scope, pools, &repositories).await.err();
    let mut kept = BTreeMap::new();
    for listed in repositories {
        if let Err(error) =
            repository_jobs(remote, forge, pools, &scope.to_string(), &listed.repository, &mut kept).await
        {
            // One repository that is out of bounds does not hide the others.
            if error.is_transient() {
                return Err(error);
            }
            failed.get_or_insert(error);
        }
    }
    groups::tell(forge, pools, &kept);
    let mut board = forge.board();
    for pool in pools {
        board.asked(&pool.name, began);
    }
    drop(board);
    forge.wake();
    failed.map_or(Ok(()), Err)
}

async fn repository_jobs(
    remote: &GithubRemote,
    forge: &HostedForge,
    pools: &[PoolSpec],
    scope: &str,
    repository: &Repository,
    kept: &mut groups::Kept,
) -> Result<(), Error> {
    let began = Instant::now();
    let queued = remote.inner.github.queued_jobs(repository).await?;
    let name = repository.to_string();
    for job in &queued {
        for pool in remote.inner.rules.kept_from(pools, &name, &job.labels) {
            kept.entry(pool.clone()).or_default().insert(name.clone());
        }
    }
    let mut board = forge.board();
    let ours: Vec<Waiting> = queued
        .iter()
        .map(|job| job::waiting(forge.name(), job, scope, began))
        .filter(|job| board.is_ours(job))
        .collect();
    let changed = board.audited(|job| job.repository.eq_ignore_ascii_case(&name), ours, began);
    drop(board);
    if changed {
        tracing::info!(%repository, "the audit found jobs that no signal reported, or that no longer wait");
        forge.wake();
    }
    Ok(())
}
