//! The audit: GitHub is asked now and then for what no signal told. It finds jobs whose webhook was lost, runners that
//! have no machine, and runners and scale sets that are not what they should be.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use fireactions_github::{Deleted, Repository, Runner};
use fireactions_model::{GithubScope, JobRecord, PoolName, PoolSpec};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::board::{Waiting, has_set};
use super::problems::Concern;
use super::register::{labels, machine_of};
use super::{Error, GithubForge, drift, groups, scale_set};

/// The second audit comes so soon after the first, in units of [`pace`](super::GithubSettings::pace): what happened just before
/// this server was there, GitHub's lists did not have yet, and no webhook will tell.
const SECOND: u32 = 15;

/// Audits one scope until `stop`; the first time at once, for what happened while no server was there.
pub(super) async fn run(
    forge: GithubForge,
    scope: GithubScope,
    pools: Vec<PoolSpec>,
    stop: CancellationToken,
) {
    let of_scope = |pool: &&PoolSpec| pool.github.as_ref().is_some_and(|runner| runner.scope == scope);
    let pools: Vec<PoolSpec> = pools.iter().filter(of_scope).cloned().collect();
    let queues = pools.iter().any(|pool| !has_set(pool));
    let settings = &forge.inner.settings;
    let mut interval = settings.audit_interval.min(settings.pace * SECOND);
    loop {
        let audit = async {
            runners(&forge, &scope, &pools).await?;
            for pool in &pools {
                scale_set::audit(&forge, pool).await?;
            }
            if queues { jobs(&forge, &scope, &pools).await } else { Ok(()) }
        };
        let Some(audited) = stop.run_until_cancelled(audit).await else { return };
        // What passes by itself is not the pool's: its runners are.
        let lasting = audited.as_ref().err().filter(|error| !error.is_transient());
        let problem = lasting.map(|error| format!("{scope} cannot be audited: {error}"));
        for pool in &pools {
            forge.set_problem(&pool.name, Concern::Audit, problem.clone());
        }
        let asked = match audited {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%scope, %error, "GitHub could not be audited; it is tried again");
                error.retry_after()
            }
        };
        let pause = interval.mul_f64(rand::random_range(0.8..1.2));
        if asked.is_none() {
            interval = settings.audit_interval;
        }
        let pause = pause.max(asked.unwrap_or_default());
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Runners of this server that have no machine are removed, and those that have are looked at.
async fn runners(forge: &GithubForge, scope: &GithubScope, pools: &[PoolSpec]) -> Result<(), Error> {
    let all = forge.inner.github.runners(scope).await?;
    // Rows are written before GitHub hears of a runner, and read after it was asked: a runner without one has no owner.
    let bound = match forge.inner.store.bound_jobs().await {
        Ok(bound) => bound,
        Err(error) => {
            tracing::warn!(%error, "machines could not be looked up; runners are not audited");
            return Ok(());
        }
    };
    let owned: HashMap<&str, &JobRecord> = bound
        .iter()
        .filter_map(|record| Some((record.remote.as_ref()?.runner.as_deref()?, record)))
        .collect();
    let mut drifts: BTreeMap<&PoolName, String> = BTreeMap::new();
    for runner in all.iter().filter(|runner| machine_of(&runner.name, &forge.inner.key).is_some()) {
        if let Some(record) = owned.get(runner.name.as_str()) {
            drifts.extend(check(forge, pools, record, runner).await);
            continue;
        }
        match forge.inner.github.delete_runner(scope, runner.id).await? {
            Deleted::Gone => {
                tracing::info!(runner = runner.name, %scope, "removed a runner without a machine");
            }
            Deleted::Busy => {
                tracing::warn!(runner = runner.name, %scope, "a runner without a machine has a job; it goes when GitHub gives up on it");
            }
        }
    }
    for pool in pools {
        forge.set_problem(&pool.name, Concern::Runners, drifts.remove(&pool.name));
    }
    Ok(())
}

/// A runner of ours, as GitHub has it. Gives what is wrong with it and whose it is.
async fn check<'a>(
    forge: &GithubForge,
    pools: &'a [PoolSpec],
    record: &JobRecord,
    runner: &Runner,
) -> Option<(&'a PoolName, String)> {
    if runner.busy && record.is_idle_runner() {
        forge.picked_up(&record.id, false, |_| {}).await;
    }
    let pool = pools.iter().find(|pool| Some(&pool.name) == record.pool.as_ref())?;
    let group = forge.group(pool.github.as_ref()?).await.ok()?;
    // Those of a scale set have its labels, which were looked at with the set.
    let labels = if has_set(pool) { Vec::new() } else { labels(pool) };
    Some((&pool.name, drift::of_runner(&labels, group, runner)?))
}

/// Jobs that wait in the scope's repositories.
async fn jobs(forge: &GithubForge, scope: &GithubScope, pools: &[PoolSpec]) -> Result<(), Error> {
    let began = Instant::now();
    let mut failed = None;
    let repositories = forge.inner.github.repositories(scope).await?;
    groups::look(forge, scope, pools, &repositories).await?;
    let mut kept = BTreeMap::new();
    for listed in repositories {
        if let Err(error) = repository_jobs(forge, scope, &listed.repository, &mut kept).await {
            // One repository that is out of bounds does not hide the others.
            if error.is_transient() {
                return Err(error);
            }
            failed = Some(error);
        }
    }
    groups::tell(forge, pools, &kept);
    let mut board = forge.board();
    for pool in pools {
        board.runners.audited(&pool.name, began);
    }
    drop(board);
    forge.wake();
    failed.map_or(Ok(()), Err)
}

async fn repository_jobs(
    forge: &GithubForge,
    scope: &GithubScope,
    repository: &Repository,
    kept: &mut groups::Kept,
) -> Result<(), Error> {
    let began = Timestamp::now();
    let queued = forge.inner.github.queued_jobs(repository).await?;
    let mut board = forge.board();
    for job in &queued {
        for pool in board.kept_from(&repository.to_string(), &job.labels) {
            kept.entry(pool.clone()).or_default().insert(repository.to_string());
        }
    }
    let ours: Vec<Waiting> = queued
        .iter()
        .filter(|job| board.is_ours(&repository.to_string(), &job.labels))
        .map(|job| Waiting::of(job, &scope.to_string(), began))
        .collect();
    let changed = board.audited(repository, ours, began);
    drop(board);
    if changed {
        tracing::info!(%repository, "the audit found jobs that no signal had told of, or that wait no more");
        forge.wake();
    }
    Ok(())
}
