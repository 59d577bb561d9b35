//! Jobs of workflow runs, as the REST API and webhooks report them.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::{JobId, Repository, RunId, RunnerId};

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowJob {
    /// Its number.
    pub id: JobId,
    /// The run that it is part of.
    pub run_id: RunId,
    /// Which attempt of the run, from 1.
    pub run_attempt: u32,
    /// Where the workflow is.
    pub repository: Repository,
    /// Its name.
    pub name: String,
    /// The workflow's name.
    pub workflow: Option<String>,
    /// Its page; empty when GitHub names none.
    pub url: String,
    /// The labels that it asks for.
    pub labels: Vec<String>,
    /// Where it is in its life.
    pub status: JobStatus,
    /// How it ended: `success`, `failure`, `cancelled`, …
    pub conclusion: Option<String>,
    /// The runner that has it or had it.
    pub runner_id: Option<RunnerId>,
    /// That runner's name.
    pub runner_name: Option<String>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When a runner began it. Before that it is when it was queued.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobStatus {
    /// It waits for a runner.
    Queued,
    /// It waits for an approval or another rule of its environment.
    Waiting,
    /// It waits for its concurrency group.
    Pending,
    /// GitHub has only just made it.
    Requested,
    /// A runner has it.
    InProgress,
    /// It has ended.
    Completed,
}

impl JobStatus {
    /// GitHub's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Requested => "requested",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }

    fn of(word: &str) -> Option<Self> {
        let all =
            [Self::Queued, Self::Waiting, Self::Pending, Self::Requested, Self::InProgress, Self::Completed];
        all.into_iter().find(|status| status.as_str() == word)
    }
}

/// A job as it is written, by both.
#[derive(Debug, Deserialize)]
pub(crate) struct WireJob {
    id: JobId,
    run_id: RunId,
    #[serde(default)]
    run_attempt: Option<u32>,
    name: String,
    #[serde(default)]
    workflow_name: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: Vec<String>,
    pub(crate) status: String,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    runner_id: Option<u64>,
    #[serde(default)]
    runner_name: Option<String>,
    #[serde(default, deserialize_with = "time")]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    started_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    completed_at: Option<Timestamp>,
}

/// Null is what is not told.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A time that cannot be read is one that is not told: a job is more than its times.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

impl WireJob {
    /// None when the status is one that is not known.
    pub(crate) fn in_repository(self, repository: &Repository) -> Option<WorkflowJob> {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(WorkflowJob {
            id: self.id,
            run_id: self.run_id,
            run_attempt: self.run_attempt.unwrap_or(1),
            repository: repository.clone(),
            name: self.name,
            workflow: text(self.workflow_name),
            url: self.html_url.unwrap_or_default(),
            labels: self.labels,
            status: JobStatus::of(&self.status)?,
            conclusion: text(self.conclusion),
            // A job that has no runner has the number 0, or none.
            runner_id: self.runner_id.filter(|id| *id != 0).map(RunnerId::new),
            runner_name: text(self.runner_name),
            created_at: self.created_at,
            started_at: self.started_at,
            completed_at: self.completed_at,
        })
    }
}
