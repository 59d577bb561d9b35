//! Jobs of Gitea and Forgejo in the words of the board and of rows, and back.

use std::time::Instant;

use fireactions_gitea::{Job, JobId, JobStatus, RunnerId};
use fireactions_model::{ForgeName, GiteaScope, RemoteJob};
use jiff::Timestamp;

use crate::hosted::board::Waiting;

/// No job has this number.
const UNKNOWN: u64 = 0;

/// What is known of a job, as rows have it.
pub(super) fn remote(forge: &ForgeName, job: &Job) -> RemoteJob {
    RemoteJob {
        id: Some(job.id.get()).filter(|id| *id != UNKNOWN),
        handle: job.handle.clone(),
        task: job.task,
        run_id: job.run_id,
        repository: job.repository.clone(),
        git_ref: job.git_ref.clone(),
        actor: job.actor.clone(),
        workflow: job.workflow.clone(),
        name: Some(job.name.clone()).filter(|name| !name.is_empty()),
        url: job.url.clone(),
        labels: job.runs_on.clone(),
        queued_at: job.created_at,
        conclusion: job.conclusion.as_ref().map(|conclusion| conclusion.as_str().to_owned()),
        ..RemoteJob::new(forge.clone(), job.scope.to_string())
    }
}

/// A job that waits, heard of at this time.
pub(super) fn waiting(forge: &ForgeName, job: &Job, heard: Instant) -> Waiting {
    Waiting {
        id: job.id.get(),
        repository: job.repository.clone().unwrap_or_default(),
        labels: job.runs_on.clone(),
        queued_at: job.created_at,
        // A Forgejo counts otherwise, and tells of no job by any other way than the list.
        tries: if job.handle.is_none() { job.attempt } else { 0 },
        remote: remote(forge, job),
        heard,
        told: Timestamp::now(),
    }
}

/// Whether the job, as the forge has it now, can be the attempt that the row's runner was given or was for. Both forges keep a
/// job's number when it is run again: Gitea gives it another runner then, and Forgejo another handle and task.
pub(super) fn is_its(row: &RemoteJob, job: &Job) -> bool {
    fn agree<T: PartialEq>(known: Option<T>, told: Option<T>) -> bool {
        known.zip(told).is_none_or(|(known, told)| known == told)
    }
    agree(row.handle.as_deref(), job.handle.as_deref())
        && agree(row.task, job.task)
        && agree(row.runner.as_deref(), job.runner_name.as_deref())
}

/// Whether the runner that was bound to a job turned out meanwhile not to have been given it.
pub(super) fn has_missed(before: &RemoteJob, now: &RemoteJob) -> bool {
    before.handle.is_some() && now.handle.is_none()
}

/// The job of a row, to ask the forge for; none when nothing is known that it could be found by.
pub(super) fn of_row(row: &RemoteJob, scope: &GiteaScope) -> Option<Job> {
    let by_task = row.task.is_some() && row.repository.is_some();
    let id = row.id.or(by_task.then_some(UNKNOWN))?;
    Some(Job {
        id: JobId::new(id),
        scope: scope.clone(),
        handle: row.handle.clone(),
        attempt: 0,
        run_id: row.run_id,
        name: row.name.clone().unwrap_or_default(),
        workflow: row.workflow.clone(),
        repository: row.repository.clone(),
        repository_id: None,
        git_ref: row.git_ref.clone(),
        actor: row.actor.clone(),
        runs_on: row.labels.clone(),
        status: JobStatus::Running,
        conclusion: None,
        runner: row.runner_id.map(RunnerId::new),
        runner_name: row.runner.clone(),
        task: row.task,
        url: row.url.clone(),
        created_at: row.queued_at,
        started_at: row.picked_up_at,
        completed_at: None,
    })
}
