//! One pool's scale set: it is made or adopted, and its message queue listened to. No port of this host is reached by
//! GitHub for it.

use std::time::{Duration, Instant};

use fireactions_github::Error as GithubError;
use fireactions_github::scaleset::{
    JobEvent, JobInfo, Message, MessageId, ScaleSet, ScaleSetSpec, ScaleSets, Session, Statistics,
};
use fireactions_model::{
    AssignedJobs, ExponentialBackoff, GithubRunner, PoolName, PoolSpec, QueuedJob, RemoteJob, RunnerWord,
};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Error, GithubRemote, OpenSet, drift, origin};
use crate::hosted::HostedForge;
use crate::hosted::board::Waiting;
use crate::hosted::lock;
use crate::hosted::problems::Concern;

/// Longest pause after an error, in units of [`pace`](crate::hosted::HostedSettings::pace), which is the first one; before what GitHub
/// itself asks for.
const LONGEST: u32 = 60;
/// After so long without a session what the last one told is not true any more. In the same units.
const LASTING: u32 = 180;
/// GitHub is told at the end that the session is over; it is not waited for long.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// How far it is with the set's messages, over all sessions.
struct Progress {
    /// The pauses after errors.
    pauses: ExponentialBackoff,
    /// The last message that was taken over.
    applied: Option<MessageId>,
    /// Since when there is no session.
    without: Option<Instant>,
}

/// Listens for the pool until `stop`.
pub(super) async fn listen(
    remote: GithubRemote,
    forge: HostedForge,
    pool: PoolSpec,
    stop: CancellationToken,
) {
    let Some(runner) = pool.github().cloned() else { return };
    let pace = forge.inner().settings.pace;
    let mut progress =
        Progress { pauses: ExponentialBackoff::new(pace, pace * LONGEST), applied: None, without: None };
    while !stop.is_cancelled() {
        let error = match session(&remote, &forge, &pool, &runner, &stop, &mut progress).await {
            Ok(()) => return,
            Err(error) => error,
        };
        lock(&remote.inner.sets).remove(&pool.name);
        let is_anothers = matches!(error, Error::Github(GithubError::SessionConflict { .. }));
        let without = *progress.without.get_or_insert_with(Instant::now);
        if is_anothers || without.elapsed() > pace * LASTING {
            // What was assigned is known to nobody here any more: it makes no machines, and the next session counts anew.
            let mut board = forge.heard();
            board.set_assigned(&pool.name, AssignedJobs::default());
            board.queue.keep_assigned(&pool.name, 0);
            drop(board);
            forge.wake();
        }
        let wait = if is_anothers {
            ExponentialBackoff::jitter(forge.inner().settings.conflict_pause, rand::random())
        } else {
            progress.pauses.failed(rand::random())
        };
        let wait = wait.max(error.retry_after().unwrap_or_default());
        let text = format!("scale set '{}': {error}", set_name(&runner));
        forge.set_problem(&pool.name, Concern::Listening, Some(text));
        tracing::debug!(pool = %pool.name, retry_in = ?wait, "the scale set's session failed; trying again");
        let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
}

fn set_name(runner: &GithubRunner) -> &str {
    runner.scale_set.as_deref().unwrap_or_default()
}

/// One session, until `stop` or an error.
async fn session(
    remote: &GithubRemote,
    forge: &HostedForge,
    pool: &PoolSpec,
    runner: &GithubRunner,
    stop: &CancellationToken,
    progress: &mut Progress,
) -> Result<(), Error> {
    let opening = async {
        let sets = ScaleSets::new(&remote.inner.github, runner.scope.clone());
        let set = set_up(remote, forge, pool, runner, &sets).await?;
        let owner = format!("{}-{}", forge.inner().settings.owner, forge.inner().key);
        let session = sets.open_session(set.id, &owner).await?;
        let open = OpenSet { sets, id: set.id, session: Some(session.id().to_owned()) };
        Ok::<_, Error>((open, session))
    };
    let Some(opened) = stop.run_until_cancelled(opening).await else { return Ok(()) };
    let (set, mut session) = opened?;
    tracing::info!(pool = %pool.name, set = set_name(runner), "listening for jobs of the scale set");
    forge.set_problem(&pool.name, Concern::Listening, None);
    progress.without = None;
    forge.heard().set_assigned(&pool.name, counted(session.statistics()));
    lock(&remote.inner.sets).insert(pool.name.clone(), set);
    forge.wake();
    let listened = tokio::select! {
        () = stop.cancelled() => Ok(()),
        listened = follow(remote, forge, pool, runner, &mut session, progress) => listened,
    };
    lock(&remote.inner.sets).remove(&pool.name);
    // Otherwise GitHub keeps the next server out until it has missed this one for a while.
    match tokio::time::timeout(CLOSE_DEADLINE, session.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(pool = %pool.name, %error, "the scale set's session was not closed");
        }
        Err(_) => tracing::debug!(pool = %pool.name, "the scale set's session was not closed in time"),
    }
    listened
}

/// Makes the pool's scale set, or adopts it and changes what differs; what differs all the same is told at the pool.
async fn set_up(
    remote: &GithubRemote,
    forge: &HostedForge,
    pool: &PoolSpec,
    runner: &GithubRunner,
    sets: &ScaleSets,
) -> Result<ScaleSet, Error> {
    let spec = ScaleSetSpec {
        name: set_name(runner).to_owned(),
        group_id: remote.group(runner).await?,
        labels: labels(pool, runner),
        disable_update: true,
    };
    let set = sets.ensure(&spec).await?;
    forge.set_problem(&pool.name, Concern::ScaleSet, drift::of_set(&spec, &set));
    Ok(set)
}

/// Whether the pool's scale set, while there is a session, is still as the configuration wants it.
pub(super) async fn audit(remote: &GithubRemote, forge: &HostedForge, pool: &PoolSpec) -> Result<(), Error> {
    let (Ok(open), Some(runner)) = (remote.open_set(&pool.name), pool.github()) else { return Ok(()) };
    set_up(remote, forge, pool, runner, &open.sets).await.map(drop)
}

/// What jobs may ask the set for: its name, and the pool's labels.
fn labels(pool: &PoolSpec, runner: &GithubRunner) -> Vec<String> {
    let name = set_name(runner);
    let own = pool.labels.iter().map(ToString::to_string).filter(|label| !label.eq_ignore_ascii_case(name));
    std::iter::once(name.to_owned()).chain(own).collect()
}

async fn follow(
    remote: &GithubRemote,
    forge: &HostedForge,
    pool: &PoolSpec,
    runner: &GithubRunner,
    session: &mut Session,
    progress: &mut Progress,
) -> Result<(), Error> {
    let mut capacity = forge.capacity();
    loop {
        let most = capacity.borrow_and_update().get(&pool.name).copied().unwrap_or(pool.max_runners);
        let message = tokio::select! {
            message = session.next(most) => message?,
            // GitHub is to know it now, not after a minute: no job is to wait for a pool that was paused.
            Ok(()) = capacity.changed() => continue,
        };
        progress.pauses.succeeded();
        let Some(message) = message else {
            // Of what a server before has acknowledged, or was not answered.
            origin::look(remote, forge, &pool.name).await;
            continue;
        };
        let available: Vec<_> = message
            .events
            .iter()
            .filter_map(|event| match event {
                JobEvent::Available(job) => Some(job.request_id),
                _ => None,
            })
            .collect();
        if !available.is_empty() {
            session.acquire(&available).await?;
        }
        let id = message.id;
        // A message that comes again tells what was true when it was written.
        let count = (progress.applied != Some(id)).then(|| counted(message.statistics));
        let is_noted = apply(remote, forge, &pool.name, runner, message, count).await;
        origin::look(remote, forge, &pool.name).await;
        progress.applied = Some(id);
        if !is_noted {
            return Err(Error::NotNoted);
        }
        // Not before: what was not acknowledged comes again.
        session.acknowledge(id).await?;
    }
}

/// Takes over what a message says, its count if that is news. Doing it twice does nothing more. False when not all of it could be
/// written down.
async fn apply(
    remote: &GithubRemote,
    forge: &HostedForge,
    pool: &PoolName,
    runner: &GithubRunner,
    message: Message,
    count: Option<AssignedJobs>,
) -> bool {
    let statistics = message.statistics;
    let mut words = Vec::new();
    for event in message.events {
        match event {
            JobEvent::Available(_) => {}
            JobEvent::Assigned(job) => {
                let waiting = waiting(remote, forge, runner, &job);
                forge.heard().queue.assign(pool, waiting);
            }
            JobEvent::Started { job, runner_name, .. } => {
                let known = forge.heard().queue.unassign(pool, job.request_id.get());
                let mut told = told(remote, forge, runner, &job);
                told.queue_says = queued(&job);
                told.queued_at = told.queued_at.or(known.and_then(|known| known.queued_at));
                words.push((runner_name, RunnerWord { ended: false, job: Box::new(told) }));
            }
            JobEvent::Completed { job, result, runner_name, .. } => {
                forge.heard().queue.unassign(pool, job.request_id.get());
                // A job that was cancelled before it began has none.
                let Some(runner_name) = runner_name else { continue };
                let mut told = told(remote, forge, runner, &job);
                told.conclusion = Some(conclusion(&result));
                // GitHub forgets a runner with its job.
                told.deregistered = true;
                words.push((runner_name, RunnerWord { ended: true, job: Box::new(told) }));
            }
        }
    }
    forge.heard().queue.keep_assigned(pool, statistics.assigned.saturating_sub(statistics.running));
    let is_noted = forge.hear(pool, count, words).await;
    forge.wake();
    is_noted
}

fn counted(statistics: Statistics) -> AssignedJobs {
    // What can be acquired is acquired at once; what stays so is more than the capacity that GitHub was told.
    let Statistics { assigned: all, running, available: held_back, .. } = statistics;
    AssignedJobs { all, running, held_back }
}

/// What is told of a job.
fn told(remote: &GithubRemote, forge: &HostedForge, runner: &GithubRunner, job: &JobInfo) -> RemoteJob {
    // The page of the run: a message does not name that of the job.
    let page = job.repository.as_ref().zip(job.run_id);
    let url = page.map(|(repository, run)| remote.inner.github.run_page(repository, run));
    RemoteJob {
        scale_set: runner.scale_set.clone(),
        run_id: job.run_id.map(fireactions_github::RunId::get),
        url,
        repository: job.repository.as_ref().map(ToString::to_string),
        workflow: workflow(&job.workflow_ref),
        queued_at: job.queued_at,
        name: Some(job.name.clone()).filter(|name| !name.is_empty()),
        labels: job.labels.clone(),
        ..RemoteJob::new(forge.name().clone(), runner.scope.to_string())
    }
}

fn waiting(remote: &GithubRemote, forge: &HostedForge, runner: &GithubRunner, job: &JobInfo) -> Waiting {
    Waiting {
        id: job.request_id.get(),
        repository: job.repository.as_ref().map(ToString::to_string).unwrap_or_default(),
        labels: job.labels.clone(),
        queued_at: job.queued_at,
        tries: 0,
        remote: told(remote, forge, runner, job),
        heard: Instant::now(),
        told: Timestamp::now(),
    }
}

/// The job in the queue's own words; none where it does not say all.
fn queued(job: &JobInfo) -> Option<QueuedJob> {
    let workflow_ref = Some(job.workflow_ref.clone()).filter(|text| !text.is_empty())?;
    Some(QueuedJob {
        repository: job.repository.as_ref()?.to_string(),
        run_id: job.run_id?.get(),
        workflow_ref,
    })
}

/// The workflow's file of `owner/name/.github/workflows/FILE@REF`.
fn workflow(reference: &str) -> Option<String> {
    let path = reference.split('@').next()?;
    path.rsplit('/').next().filter(|file| !file.is_empty()).map(str::to_owned)
}

/// A result of the message queue in the words of the REST interface.
fn conclusion(result: &str) -> String {
    match result.to_ascii_lowercase().as_str() {
        "succeeded" | "success" => "success".to_owned(),
        "failed" | "failure" => "failure".to_owned(),
        "canceled" | "cancelled" => "cancelled".to_owned(),
        other => other.chars().filter(|c| !c.is_control()).take(40).collect(),
    }
}
