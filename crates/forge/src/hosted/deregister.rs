//! Runners that ended are deregistered, whatever became of them, and runners that nobody needs are let go.

use std::collections::BTreeMap;
use std::time::Instant;

use fireactions_model::{Cancel, ExponentialBackoff, JobId, JobRecord};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::HostedForge;
use super::board::Stage;
use super::error::Error;
use super::problems::Concern;
use super::remote::Deleted;

/// First and longest pause after an error, in units of [`pace`](super::HostedSettings::pace).
const PAUSES: (u32, u32) = (2, 120);
/// Forges forget a runner for one job with that job; it is given a moment, which saves a request for each job. In the same units.
const GRACE: u32 = 5;

/// After this long it is given up. GitHub has forgotten a runner by itself then
/// (<https://docs.github.com/actions/hosting-your-own-runners/managing-self-hosted-runners/removing-self-hosted-runners>).
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);

/// Deregisters what has ended until `stop`. What is left is in the store, and the next server goes on with it.
pub(crate) async fn run(forge: HostedForge, stop: CancellationToken) {
    let pace = forge.inner.settings.pace;
    let mut pauses = ExponentialBackoff::new(pace * PAUSES.0, pace * PAUSES.1);
    // What an earlier server left.
    forge.inner.leftover.notify_one();
    while stop.run_until_cancelled(forge.inner.leftover.notified()).await.is_some() {
        if stop.run_until_cancelled(tokio::time::sleep(pace * GRACE)).await.is_none() {
            return;
        }
        let Some(done) = stop.run_until_cancelled(all(&forge)).await else { return };
        match done {
            Ok(()) => pauses.succeeded(),
            Err(error) => {
                let wait = pauses.failed(rand::random()).max(error.retry_after().unwrap_or_default());
                tracing::debug!(%error, retry_in = ?wait, "a runner that ended could not be removed at the forge");
                let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
                forge.inner.leftover.notify_one();
            }
        }
    }
}

/// Every runner that ended and that the forge may still have.
async fn all(forge: &HostedForge) -> Result<(), Error> {
    let ended = match forge.inner.store.registered_runners(&forge.inner.name).await {
        Ok(ended) => ended,
        Err(error) => {
            tracing::warn!(%error, "runners that ended could not be read from the store");
            return Ok(());
        }
    };
    let mut failed = None;
    for record in &ended {
        match one(forge, record).await {
            Err(error) if !error.is_transient() && is_old(record) => {
                tracing::warn!(job = %record.id, %error, "a runner could not be removed at the forge for a day; it is left to the forge");
                forge.note(&record.id, |remote| remote.deregistered = true).await;
            }
            Err(error) => failed = Some(error),
            Ok(()) => {}
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Whether it ended so long ago that nobody tries any more.
fn is_old(record: &JobRecord) -> bool {
    record.finished_at.is_some_and(|ended| Timestamp::now().duration_since(ended) > FORGOTTEN)
}

async fn one(forge: &HostedForge, record: &JobRecord) -> Result<(), Error> {
    let Some(remote) = &record.remote else { return Ok(()) };
    // Without a number the forge never answered its registration. If it has it all the same, the audit finds it by its name.
    if let Some(id) = remote.runner_id {
        match forge.inner.remote.delete(&remote.scope, id).await? {
            Deleted::Gone => {}
            Deleted::Busy => {
                tracing::warn!(
                    job = %record.id, runner = remote.runner,
                    "the forge says that a runner whose machine has ended still has a job; the forge gives up the job within minutes, and then the audit removes the runner"
                );
            }
        }
    }
    forge.note(&record.id, |remote| remote.deregistered = true).await;
    Ok(())
}

impl HostedForge {
    /// Lets runners go that no job is there for. The forge decides: one that it gives a job at this moment stays.
    /// What will not go well the next time is told at its pool.
    pub(crate) async fn end_surplus(&self, now: Instant) -> Result<(), Error> {
        let (surplus, pools) = {
            let board = self.board();
            (board.surplus(now, self.inner.settings.surplus_after), board.names())
        };
        let (mut failed, mut problems) = (None, BTreeMap::new());
        for job in surplus {
            let pool = self.board().runners.get(&job).map(|runner| runner.pool.clone());
            if let Err(error) = self.let_go(&job).await {
                tracing::debug!(%job, %error, "a runner that no job needs could not be removed");
                if let Some(pool) = pool.filter(|_| !error.is_transient()) {
                    let text =
                        format!("a runner that no job needs stays, because it cannot be removed: {error}");
                    problems.entry(pool).or_insert(text);
                }
                failed.get_or_insert(error);
            }
        }
        for pool in pools {
            let problem = problems.remove(&pool);
            self.set_problem(&pool, Concern::Surplus, problem);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn let_go(&self, job: &JobId) -> Result<(), Error> {
        let record = self.inner.store.job(job).await.ok().flatten();
        let Some(remote) = record.and_then(|record| record.remote) else { return Ok(()) };
        let Some(id) = remote.runner_id else { return Ok(()) };
        match self.inner.remote.let_go(&remote, id).await? {
            Deleted::Busy => {
                self.picked_up(job, false, |_| {}).await;
            }
            Deleted::Gone => {
                let idle = self.board().runners.get(job).is_some_and(|runner| runner.stage == Stage::Idle);
                if idle {
                    tracing::info!(%job, runner = remote.runner, "no job came for this runner; it is removed");
                    self.note(job, |remote| remote.deregistered = true).await;
                    self.end(job, Cancel::Asked);
                }
            }
        }
        Ok(())
    }
}
