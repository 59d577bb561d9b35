//! The audit: the forge is asked now and then for what no signal told. It finds runners that have no machine, and, as its
//! kind has it, jobs whose webhook was lost and runners that are not what they should be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use fireactions_model::{Cancel, JobId, JobRecord, PoolName, PoolSpec};
use tokio_util::sync::CancellationToken;

use super::board::Stage;
use super::error::Error;
use super::names::machine_of;
use super::problems::Concern;
use super::remote::{Deleted, Listed};
use super::{HostedForge, is_of};

/// The second audit comes so soon after the first, in units of [`pace`](super::HostedSettings::pace): what happened just
/// before this server was there, the forge's lists did not have yet, and no webhook will tell.
const SECOND: u32 = 15;

/// Audits one scope until `stop`; the first time at once, for what happened while no server was there.
pub(super) async fn run(forge: HostedForge, scope: String, pools: Vec<PoolSpec>, stop: CancellationToken) {
    let of_scope = |pool: &&PoolSpec| forge.inner.remote.scope(pool).as_ref() == Some(&scope);
    let pools: Vec<PoolSpec> = pools.iter().filter(of_scope).cloned().collect();
    let settings = &forge.inner.settings;
    let mut unlisted = HashSet::new();
    let mut interval = settings.audit_interval.min(settings.pace * SECOND);
    loop {
        let audit = async {
            // What is wrong with runners hides no job that nobody told of.
            let looked = runners(&forge, &scope, &pools, &mut unlisted).await;
            if !forge.listens() {
                return looked;
            }
            let rest = forge.inner.remote.audit(&forge, &scope, &pools).await;
            looked.and(rest)
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
                tracing::warn!(forge = %forge.inner.name, scope, %error, "the audit failed; it is repeated");
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
/// One that cannot be removed hides no other; the first error is given at the end.
async fn runners(
    forge: &HostedForge,
    scope: &str,
    pools: &[PoolSpec],
    unlisted: &mut HashSet<JobId>,
) -> Result<(), Error> {
    let rows = async || {
        let rows = forge.inner.store.bound_jobs().await;
        rows.inspect_err(
            |error| tracing::warn!(%error, "the store cannot be read, so runners are not audited"),
        )
        .ok()
    };
    let Some(before) = rows().await else { return Ok(()) };
    let Some(all) = forge.inner.remote.runners(scope).await? else { return Ok(()) };
    // Rows are written before the forge hears of a runner, and read after it was asked: a runner without one has no owner.
    let Some(bound) = rows().await else { return Ok(()) };
    if forge.inner.remote.rules().behind().is_zero() {
        end_unlisted(forge, scope, (&before, &bound), &all, unlisted);
    }
    let owned: HashMap<&str, &JobRecord> = bound
        .iter()
        .filter_map(|record| Some((record.remote.as_ref()?.runner.as_deref()?, record)))
        .collect();
    let mut failed = None;
    let mut drifts: BTreeMap<&PoolName, String> = BTreeMap::new();
    for runner in all.iter().filter(|runner| machine_of(&runner.name, &forge.inner.key).is_some()) {
        if let Some(record) = owned.get(runner.name.as_str()) {
            if runner.busy && record.is_idle_runner() {
                forge.picked_up(&record.id, false, |_| {}).await;
            }
            if let Some(pool) = pools.iter().find(|pool| Some(&pool.name) == record.pool.as_ref())
                && let Some(drift) = forge.inner.remote.drift(pool, runner).await
            {
                drifts.insert(&pool.name, drift);
            }
            continue;
        }
        match forge.inner.remote.delete(scope, runner.id).await {
            Err(error) => {
                tracing::debug!(runner = runner.name, scope, %error, "a runner without a machine could not be removed");
                failed.get_or_insert(error);
            }
            Ok(Deleted::Gone) => {
                tracing::info!(runner = runner.name, scope, "removed a runner without a machine");
            }
            Ok(Deleted::Busy) => {
                tracing::warn!(
                    runner = runner.name,
                    scope,
                    "a runner without a machine has a job; it is removed when the forge gives up the job"
                );
            }
        }
    }
    for pool in pools {
        forge.set_problem(&pool.name, Concern::Runners, drifts.remove(&pool.name));
    }
    failed.map_or(Ok(()), Err)
}

/// Ends machines whose runner the forge does not have any more although it never had a job: somebody deleted it. It would ask
/// for jobs for ever. `before` are the rows from before the list was asked for, `bound` those from after. A runner that is new
/// may be gone because its job was short, which its log is about to tell; and one may be missing in a list that changed while
/// it was read, so it has to be missing in two. `unlisted` are those that were in the last one.
fn end_unlisted(
    forge: &HostedForge,
    scope: &str,
    (before, bound): (&[JobRecord], &[JobRecord]),
    all: &[Listed],
    unlisted: &mut HashSet<JobId>,
) {
    let listed: HashSet<u64> = all.iter().map(|runner| runner.id).collect();
    let (settled, now) = (forge.inner.settings.pace * SECOND, Instant::now());
    let is_missing = |row: &&JobRecord| {
        let remote = row.remote.as_ref().filter(|remote| remote.scope == scope);
        remote.and_then(|remote| remote.runner_id).is_some_and(|id| !listed.contains(&id))
    };
    let idle: HashSet<&JobId> = bound.iter().filter(|row| row.is_idle_runner()).map(|row| &row.id).collect();
    let is_idle = |row: &&JobRecord| {
        let board = forge.board();
        let waits = board.runners.get(&row.id).is_some_and(|runner| runner.stage == Stage::Idle);
        row.is_idle_runner()
            && idle.contains(&row.id)
            && waits
            && board.runners.is_older(&row.id, settled, now)
    };
    let its = before.iter().filter(|row| is_of(&forge.inner.name, row));
    let missing: Vec<&JobRecord> = its.filter(is_missing).filter(is_idle).collect();
    for row in missing.iter().filter(|row| unlisted.contains(&row.id)) {
        let runner = row.remote.as_ref().and_then(|remote| remote.runner.as_deref());
        tracing::info!(job = %row.id, runner, "the forge no longer has this runner; ending its machine");
        forge.end(&row.id, Cancel::Over);
    }
    *unlisted = missing.iter().map(|row| row.id.clone()).collect();
}
