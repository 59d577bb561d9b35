//! GitHub's jobs in the words of the board.

use std::time::Instant;

use fireactions_github::WorkflowJob;
use fireactions_model::{ForgeName, RemoteJob};
use jiff::Timestamp;

use crate::hosted::board::Waiting;

/// A job, as a webhook or the audit tells it.
pub(super) fn waiting(forge: &ForgeName, job: &WorkflowJob, scope: &str, heard: Instant) -> Waiting {
    let remote = RemoteJob {
        id: Some(job.id.get()),
        run_id: Some(job.run_id.get()),
        repository: Some(job.repository.to_string()),
        name: Some(job.name.clone()),
        labels: job.labels.clone(),
        workflow: job.workflow.clone(),
        conclusion: job.conclusion.clone(),
        url: (!job.url.is_empty()).then(|| job.url.clone()),
        queued_at: job.created_at,
        ..RemoteJob::new(forge.clone(), scope)
    };
    Waiting {
        id: job.id.get(),
        repository: job.repository.to_string(),
        labels: job.labels.clone(),
        queued_at: job.created_at,
        tries: 0,
        remote,
        heard,
        told: Timestamp::now(),
    }
}
