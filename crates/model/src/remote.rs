//! A job of a hosted forge, and the runner that takes it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ForgeName, JobRecord, JobState};

/// What is known here of a hosted forge's job and of its runner. The forge decides which of its jobs a runner gets, so
/// a runner begins without one, and learns late which it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RemoteJob {
    /// The forge, by its name in the configuration.
    pub forge: ForgeName,
    /// Where the runner is registered, as the forge's kind has it: `acme`, `acme/widgets`, `enterprises/acme` at GitHub;
    /// `instance`, `user`, `orgs/acme`, `repos/acme/widgets` at Gitea and Forgejo.
    pub scope: String,
    /// The runner's name at the forge; none while the job waits for one.
    #[serde(default)]
    pub runner: Option<String>,
    /// The runner's number at the forge, once it is registered.
    #[serde(default)]
    pub runner_id: Option<u64>,
    /// The scale set that the runner belongs to.
    #[serde(default)]
    pub scale_set: Option<String>,
    /// The forge has said, or the runner's own log, that the runner is registered no more.
    #[serde(default)]
    pub deregistered: bool,
    /// The job's number at the forge.
    #[serde(default)]
    pub id: Option<u64>,
    /// What names this attempt at the job to a Forgejo: a runner can ask for it alone.
    #[serde(default)]
    pub handle: Option<String>,
    /// The number under which a runner of Gitea or Forgejo has it; its log names it.
    #[serde(default)]
    pub task: Option<u64>,
    /// The number of the run that it is part of.
    #[serde(default)]
    pub run_id: Option<u64>,
    /// The repository, `owner/name`.
    #[serde(default)]
    pub repository: Option<String>,
    /// The job by the word of the queue that the runner's scale set has at GitHub. Nothing else that is heard of the job changes it.
    #[serde(default)]
    pub queue_says: Option<QueuedJob>,
    /// The branch or tag that it runs for.
    #[serde(default)]
    pub git_ref: Option<String>,
    /// Who made it run.
    #[serde(default)]
    pub actor: Option<String>,
    /// The workflow.
    #[serde(default)]
    pub workflow: Option<String>,
    /// The job's name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its page at the forge.
    #[serde(default)]
    pub url: Option<String>,
    /// The labels that it asked for.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Since when it waited.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub queued_at: Option<Timestamp>,
    /// The runner began it.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = DateTime))]
    pub picked_up_at: Option<Timestamp>,
    /// How it ended by the forge's word: `success`, `failure`, `cancelled`, …
    #[serde(default)]
    pub conclusion: Option<String>,
}

/// A job, as the queue of its scale set tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueuedJob {
    /// The repository, `owner/name`.
    pub repository: String,
    /// The number of the run.
    pub run_id: u64,
    /// The workflow, `owner/name/.github/workflows/FILE@REF`.
    pub workflow_ref: String,
}

impl RemoteJob {
    /// Nothing is known yet but where it is.
    pub fn new(forge: ForgeName, scope: impl Into<String>) -> Self {
        Self {
            forge,
            scope: scope.into(),
            runner: None,
            runner_id: None,
            scale_set: None,
            deregistered: false,
            id: None,
            handle: None,
            task: None,
            run_id: None,
            repository: None,
            queue_says: None,
            git_ref: None,
            actor: None,
            workflow: None,
            name: None,
            url: None,
            labels: Vec::new(),
            queued_at: None,
            picked_up_at: None,
            conclusion: None,
        }
    }

    /// Whether the runner has begun a job.
    pub fn is_picked_up(&self) -> bool {
        self.picked_up_at.is_some()
    }

    /// How long the job waited at its forge until a runner began it, once both times are known. The forge's clock may be ahead of this
    /// host's: then it is nothing.
    pub fn waited(&self) -> Option<Duration> {
        let micros = self.picked_up_at?.as_microsecond() - self.queued_at?.as_microsecond();
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }

    /// For people: `owner/name: workflow / job`, as far as it is known.
    pub fn title(&self) -> Option<String> {
        let parts: Vec<&str> =
            [self.workflow.as_deref(), self.name.as_deref()].into_iter().flatten().collect();
        match (self.repository.as_deref(), parts.is_empty()) {
            (None, true) => None,
            (None, false) => Some(parts.join(" / ")),
            (Some(repository), true) => Some(repository.to_owned()),
            (Some(repository), false) => Some(format!("{repository}: {}", parts.join(" / "))),
        }
    }
}

impl JobRecord {
    /// A forge's runner that runs and has no job yet.
    pub fn is_idle_runner(&self) -> bool {
        let waits = matches!(self.state, JobState::Assigned | JobState::Running);
        waits && self.remote.as_ref().is_some_and(|remote| !remote.is_picked_up())
    }
}
