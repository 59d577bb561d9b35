//! Jobs and their history.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::lists::Past;

/// A job's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job that a workflow asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// `owner/name`.
    pub repository: String,
    /// The workflow's name.
    pub workflow: String,
    /// The job's name.
    pub name: String,
    /// `runs-on`.
    pub labels: Vec<String>,
    /// What the runner runs with `sh`.
    pub script: String,
    /// What caused its run.
    pub cause: Cause,
}

/// What caused a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `push`, …
    pub event: String,
    /// The short name of the branch or tag; of a pull request, of the branch that it comes from.
    pub branch: String,
    /// The workflow of the job, `owner/name/.github/workflows/FILE@REF`: of a job of a called workflow, that one.
    pub workflow_ref: String,
    /// Workflows that the run's own calls, `owner/name/.github/workflows/FILE@REF`.
    pub called: Vec<String>,
}

impl JobRequest {
    /// A job `test` of the workflow `CI`.
    pub fn new(repository: &str, labels: &[&str], script: &str) -> Self {
        Self {
            repository: repository.into(),
            workflow: "CI".into(),
            name: "test".into(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            script: script.into(),
            cause: Cause {
                event: "push".to_owned(),
                branch: "main".to_owned(),
                workflow_ref: format!("{repository}/.github/workflows/ci.yml@refs/heads/main"),
                called: Vec::new(),
            },
        }
    }

    /// The same of a run that was caused otherwise; the workflow is `FILE@REF` of the job's repository.
    #[must_use]
    pub fn caused(mut self, event: &str, branch: &str, workflow: &str) -> Self {
        self.cause.event = event.into();
        self.cause.branch = branch.into();
        self.cause.workflow_ref = format!("{}/.github/workflows/{workflow}", self.repository);
        self
    }

    /// The same of a workflow that the run's own calls, `owner/name/.github/workflows/FILE@REF`.
    #[must_use]
    pub fn calling(mut self, workflow_ref: &str) -> Self {
        self.cause.workflow_ref = workflow_ref.into();
        self.cause.called.push(workflow_ref.into());
        self
    }

    /// The same with another name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// It waits for a person's approval.
    Waiting,
    /// It waits for a runner, or for the one that it was given to.
    Queued,
    /// A runner has it.
    InProgress,
    /// It is over.
    Completed,
}

impl JobStatus {
    /// GitHub's word.
    pub(in super::super) fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }
}

/// A job and its history.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The run that it is part of.
    pub run_id: u64,
    /// What was asked for.
    pub request: JobRequest,
    /// How far it is.
    pub status: JobStatus,
    /// GitHub's word for how it ended: `success`, `failure`, `cancelled`.
    pub conclusion: Option<String>,
    /// Each time that it was given to a runner.
    pub assignments: Vec<Assignment>,
    /// What its script said, as its runner told it.
    pub log: String,
    /// When it was queued. GitHub writes these times to the second; here they are as precise as the clock.
    pub queued_at: Timestamp,
    /// When a runner took it.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub completed_at: Option<Timestamp>,
}

impl Job {
    /// How often a runner began to run it. More than once is a job doubled.
    pub fn runs(&self) -> usize {
        self.assignments.iter().filter(|assignment| assignment.picked_up_at.is_some()).count()
    }

    pub(in super::super) fn shown(&self) -> Shown {
        Shown { status: self.status, conclusion: self.conclusion.clone() }
    }

    /// The runner that has or had it.
    pub fn runner_name(&self) -> Option<&str> {
        self.assignments.last().map(|assignment| assignment.runner_name.as_str())
    }
}

/// A job given to a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The runner's id.
    pub runner_id: u64,
    /// The runner's name.
    pub runner_name: String,
    /// When it was given the job.
    pub assigned_at: Timestamp,
    /// When it took the job.
    pub picked_up_at: Option<Timestamp>,
    /// How that ended.
    pub outcome: Option<AssignmentResult>,
}

/// How an assignment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssignmentResult {
    /// The runner reported success.
    Succeeded,
    /// The runner reported failure.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// The runner did not take it in time: queued again.
    NotPickedUp,
    /// The runner fell silent.
    Lost,
    /// Its runner was deleted.
    RunnerDeleted,
}

impl AssignmentResult {
    pub(in super::super) fn conclusion(self) -> &'static str {
        match self {
            Self::Succeeded => "success",
            Self::Cancelled => "cancelled",
            _ => "failure",
        }
    }

    /// The Actions service's word.
    pub(in super::super) fn result(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Cancelled => "canceled",
            _ => "failed",
        }
    }
}

#[derive(Debug)]
pub(in super::super) struct Entry {
    pub(in super::super) public: Job,
    pub(in super::super) repository: u64,
    pub(in super::super) cancelling: bool,
    /// The scale set that it goes to.
    pub(in super::super) set: Option<ForSet>,
    pub(in super::super) assigned: Option<Instant>,
    pub(in super::super) past: Past<Shown>,
}

/// What a list shows of how far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Shown {
    pub(in super::super) status: JobStatus,
    pub(in super::super) conclusion: Option<String>,
}

/// A job's way through a scale set.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct ForSet {
    pub(in super::super) set: u64,
    /// When it was last offered.
    pub(in super::super) offered: Option<Instant>,
    pub(in super::super) acquired: Option<Timestamp>,
}

#[derive(Debug)]
pub(in super::super) struct Jobs {
    pub(in super::super) entries: BTreeMap<JobId, Entry>,
    pub(in super::super) pickup: Duration,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), pickup: Duration::from_secs(60) }
    }
}
