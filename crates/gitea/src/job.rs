//! Jobs of workflow runs.

use fireactions_model::GiteaScope;
use jiff::Timestamp;

use crate::{JobId, RunnerId};

/// A job, as far as its server tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Where it was found; for a delivery of a webhook its repository.
    pub scope: GiteaScope,
    /// What binds a runner to this job alone (`one-job --handle`); Forgejo from 15.
    pub handle: Option<String>,
    /// Which attempt, from 1; 0 while a Gitea has it wait.
    pub attempt: u64,
    /// The run that it is part of; unknown at Forgejo before 17.
    pub run_id: Option<u64>,
    /// Its name.
    pub name: String,
    /// The workflow's file, such as `ci.yml`; told by [`crate::Gitea::job`] only.
    pub workflow: Option<String>,
    /// Its repository, `OWNER/NAME`.
    pub repository: Option<String>,
    /// The repository's number, where that is all that is told.
    pub repository_id: Option<u64>,
    /// The branch or tag.
    pub git_ref: Option<String>,
    /// Who caused it.
    pub actor: Option<String>,
    /// The labels that it asks for.
    pub runs_on: Vec<String>,
    /// Where it is in its life.
    pub status: JobStatus,
    /// How it ended.
    pub conclusion: Option<Conclusion>,
    /// The runner that has it or had it; Forgejo does not tell.
    pub runner: Option<RunnerId>,
    /// That runner's name.
    pub runner_name: Option<String>,
    /// What a runner has of it, once one has: Forgejo tells the result by it.
    pub task: Option<u64>,
    /// Its page.
    pub url: Option<String>,
    /// When it was made, by the server's clock.
    pub created_at: Option<Timestamp>,
    /// When a runner began it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobStatus {
    /// It waits for a runner.
    Waiting,
    /// It waits for other jobs, an approval or its concurrency group.
    Blocked,
    /// A runner has it.
    Running,
    /// It has ended.
    Done,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// All went well.
    Success,
    /// Something in it failed, or its runner was lost.
    Failure,
    /// Somebody cancelled it.
    Cancelled,
    /// It was not to run.
    Skipped,
    /// In the server's words.
    Other(String),
}

impl Conclusion {
    /// The servers' word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Other(word) => word,
        }
    }

    pub(crate) fn of(word: &str) -> Self {
        let known = [Self::Success, Self::Failure, Self::Cancelled, Self::Skipped];
        let found = known.into_iter().find(|known| known.as_str() == word);
        found.unwrap_or_else(|| Self::Other(fireactions_http::plain(word)))
    }
}

impl JobStatus {
    /// Of Gitea's words for jobs: `waiting` is one that others block there.
    pub(crate) fn of_gitea(word: &str) -> Option<Self> {
        Some(match word {
            "queued" => Self::Waiting,
            "waiting" | "blocked" | "pending" | "requested" => Self::Blocked,
            "in_progress" => Self::Running,
            "completed" => Self::Done,
            _ => return None,
        })
    }

    /// Of Forgejo's, and of both forges' words for tasks; how it ended is in the same word.
    pub(crate) fn of_forgejo(word: &str) -> Option<(Self, Option<Conclusion>)> {
        Some(match word {
            "waiting" => (Self::Waiting, None),
            "blocked" => (Self::Blocked, None),
            "running" => (Self::Running, None),
            "success" | "failure" | "cancelled" | "skipped" => (Self::Done, Some(Conclusion::of(word))),
            _ => return None,
        })
    }
}
