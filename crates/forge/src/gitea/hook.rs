//! A Gitea's webhook.

use std::time::Instant;

use fireactions_gitea::JobStatus;
use fireactions_gitea::webhook::{self, Event, Forged};
use fireactions_model::{ForgeName, Secret};

use super::job;
use crate::hosted::Delivery;
use crate::hosted::remote::{Change, JobNews};

pub(super) fn verify(secrets: &[Secret], delivery: &Delivery<'_>) -> Result<(), Forged> {
    let content = delivery.header("content-type").unwrap_or_default();
    let (own, hub) = (delivery.header("x-gitea-signature"), delivery.header("x-hub-signature-256"));
    webhook::verify(secrets, content, delivery.body, own, hub)
}

pub(super) fn parse(name: &ForgeName, delivery: &Delivery<'_>) -> Result<Option<JobNews>, String> {
    let event = delivery.header("x-gitea-event").unwrap_or_default();
    let content = delivery.header("content-type").unwrap_or_default();
    let event = webhook::parse(event, content, delivery.body).map_err(|error| error.to_string())?;
    let Event::WorkflowJob(event) = event else { return Ok(None) };
    let change = match event.job.status {
        JobStatus::Waiting => Change::Queued,
        JobStatus::Running => Change::Began,
        JobStatus::Done => Change::Ended,
        JobStatus::Blocked => Change::Other,
    };
    let runner = event.job.runner_name.clone();
    Ok(Some(JobNews { job: job::waiting(name, &event.job, Instant::now()), change, runner }))
}
