//! The queue of one scope, followed: what waits, what runs, and what has ended behind its runner's back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use fireactions_gitea::{Error as GiteaError, Job, JobStatus};
use fireactions_model::{ExponentialBackoff, GiteaScope, JobId, JobRecord, PoolSpec, RemoteJob};
use tokio_util::sync::CancellationToken;

use super::rules::covers;
use super::{GiteaRemote, job, origin, settle};
use crate::hosted::HostedForge;
use crate::hosted::board::{Waiting, describe};
use crate::hosted::problems::Concern;

/// Longest pause after errors; before what the server itself asks for.
const LONGEST: Duration = Duration::from_secs(60);

/// Between two looks of which the later comes before its time.
const SOON: Duration = Duration::from_millis(500);

/// Asks for the scope's queue until `stop`.
pub(super) async fn run(
    remote: GiteaRemote,
    forge: HostedForge,
    scope: GiteaScope,
    pools: Vec<PoolSpec>,
    stop: CancellationToken,
) {
    let interval = remote.inner.settings.poll_interval;
    let labels: Vec<Vec<String>> =
        pools.iter().filter_map(|pool| pool.gitea()).map(|runner| runner.labels.clone()).collect();
    // In how many lists in a row a row's job was missing.
    let mut absent = HashMap::new();
    let mut pauses = ExponentialBackoff::new(interval, LONGEST.max(interval));
    let mut looks = remote.inner.looks.subscribe();
    loop {
        looks.mark_unchanged();
        let asked = Instant::now();
        let Some(jobs) = stop.run_until_cancelled(remote.inner.gitea.jobs(&scope, &labels)).await else {
            return;
        };
        let pause = match jobs {
            Ok(jobs) => {
                pauses.succeeded();
                set_problem(&forge, &pools, None);
                take(&remote, &forge, &scope, &pools, (jobs, asked), &mut absent).await;
                ExponentialBackoff::jitter(interval, rand::random())
            }
            Err(GiteaError::Unsupported { why, .. }) => {
                // It will not learn it before it is upgraded, which is looked for once in a while.
                blind(&remote, &forge, &pools, &why);
                LONGEST
            }
            Err(error) => {
                set_problem(&forge, &pools, Some(&format!("the queue of {scope} cannot be read: {error}")));
                pauses.failed(rand::random()).max(error.retry_after().unwrap_or_default())
            }
        };
        // After an error the forge is left alone.
        let wanted = async {
            if pauses.failures() > 0 || looks.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep_until((asked + SOON).into()).await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wanted => {}
            () = stop.cancelled() => return,
        }
    }
}

fn set_problem(forge: &HostedForge, pools: &[PoolSpec], problem: Option<&str>) {
    for pool in pools {
        forge.set_problem(&pool.name, Concern::Listening, problem.map(str::to_owned));
    }
}

/// The server has no list of jobs. With a webhook jobs are heard of all the same.
fn blind(remote: &GiteaRemote, forge: &HostedForge, pools: &[PoolSpec], why: &str) {
    // A delivery comes to one host, and the others would not know of it.
    let hooked = forge.inner().settings.webhook.is_some() && !forge.is_shared();
    if remote.inner.rules.set_blind(!hooked) {
        forge.wake();
    }
    let what = if hooked {
        "jobs are found by the webhook only, and a job whose delivery is lost waits for the next delivery"
    } else {
        "so runners wait for jobs at all times: as many as the pool's min_runners, and at least one"
    };
    set_problem(forge, pools, Some(&format!("{why}; {what}")));
}

/// Takes over what the queue was when it was asked for.
async fn take(
    remote: &GiteaRemote,
    forge: &HostedForge,
    scope: &GiteaScope,
    pools: &[PoolSpec],
    (jobs, asked): (Vec<Job>, Instant),
    absent: &mut HashMap<JobId, u32>,
) {
    let mut news = remote.inner.rules.set_blind(false);
    let (waiting, running): (Vec<Job>, Vec<Job>) = jobs
        .into_iter()
        .filter(|job| matches!(job.status, JobStatus::Waiting | JobStatus::Running))
        .partition(|job| job.status == JobStatus::Waiting);
    let listed = scope.to_string();
    {
        let mut board = forge.heard();
        let waiting: Vec<Waiting> = waiting
            .iter()
            .map(|job| job::waiting(forge.name(), job, asked))
            .filter(|job| board.is_ours(job))
            .collect();
        news |= board.audited(|job| covers(scope, &job.wants()), waiting, asked);
        for pool in pools {
            board.asked(&pool.name, asked);
        }
    }
    if forge.is_shared() {
        let mut board = forge.board();
        for pool in pools {
            board.asked(&pool.name, asked);
        }
    }
    let rows = match forge.inner().store.bound_jobs().await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(%error, "the store cannot be read, so running jobs are not followed");
            Vec::new()
        }
    };
    let rows = rows.iter().filter_map(|row| Some((row, row.remote.as_ref()?)));
    let rows: Vec<(&JobRecord, &RemoteJob)> =
        rows.filter(|(_, row)| row.forge == *forge.name() && row.scope == listed).collect();
    let running = Running::new(&running);
    absent.retain(|id, _| rows.iter().any(|(row, _)| row.id == *id));
    for (row, known) in rows {
        if let Some(machine) = forge.unconfirmed(row)
            && let Some(job) = running.confirmed(known)
        {
            let (remote, name, job) = (remote.clone(), forge.name().clone(), job.clone());
            forge.confirm_in_cache(&row.id, machine, move || {
                origin::ask(remote.clone(), name.clone(), job.clone())
            });
        }
        match running.of(known) {
            Some(job) => {
                absent.remove(&row.id);
                // A row's handle is what its runner asked for, and is not learned from a job that a guest may have named.
                let told = RemoteJob { handle: None, ..job::remote(forge.name(), job) };
                if !known.is_picked_up() || known.id != told.id || known.task != told.task {
                    let before = known.clone();
                    forge
                        .picked_up_if(&row.id, true, move |remote| {
                            let is_its = !job::has_missed(&before, remote);
                            if is_its {
                                describe(remote, &told);
                            }
                            is_its
                        })
                        .await;
                }
            }
            // It may have begun after the list was made.
            None if known.is_picked_up() && forge.board().runners.had_begun(&row.id, asked) => {
                let lists = absent.entry(row.id.clone()).or_default();
                *lists += 1;
                settle::start(remote, forge, &row.id, known, *lists);
            }
            None => {}
        }
    }
    if news {
        forge.wake();
    }
}

/// Jobs that run, by what tells whose they are.
struct Running<'a> {
    of_runner: HashMap<&'a str, &'a Job>,
    of_runner_id: HashMap<u64, &'a Job>,
    with_id: HashMap<u64, &'a Job>,
    of_task: HashMap<u64, &'a Job>,
}

impl<'a> Running<'a> {
    fn new(jobs: &'a [Job]) -> Self {
        Self {
            of_runner: jobs.iter().filter_map(|job| Some((job.runner_name.as_deref()?, job))).collect(),
            of_runner_id: jobs.iter().filter_map(|job| Some((job.runner?.get(), job))).collect(),
            with_id: jobs.iter().map(|job| (job.id.get(), job)).collect(),
            of_task: jobs.iter().filter_map(|job| Some((job.task?, job))).collect(),
        }
    }

    /// The job that the row's runner has, by nothing that a guest could have said: the runner's number as its registration gave it,
    /// or the handle that it was made to ask for.
    fn confirmed(&self, row: &RemoteJob) -> Option<&'a Job> {
        let by_runner = || self.of_runner_id.get(&row.runner_id?);
        let bound = || {
            let (handle, found) = (row.handle.as_deref()?, self.with_id.get(&row.id?)?);
            (found.handle.as_deref() == Some(handle)).then_some(found)
        };
        by_runner().or_else(bound).copied()
    }

    /// The job that the row's runner has. Gitea names the runner; a Forgejo the task, which the runner's log names, too, and
    /// a runner that is bound to a job has that one.
    fn of(&self, row: &RemoteJob) -> Option<&'a Job> {
        let by_name = || self.of_runner.get(row.runner.as_deref()?);
        let by_task = || self.of_task.get(&row.task?);
        let bound = || self.with_id.get(&row.id.filter(|_| row.handle.is_some() || row.is_picked_up())?);
        by_name().or_else(by_task).or_else(bound).copied().filter(|found| job::is_its(row, found))
    }
}
