//! Jobs that wait, found by asking: what the polling audit behind webhooks looks at.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::StatusCode;
use serde::Deserialize;

use crate::address::url;
use crate::caller::Call;
use crate::job::WireJob;
use crate::response::Meaning as _;
use crate::{Error, Github, JobId, JobStatus, Repository, RunId, WorkflowJob};

/// Runs whose jobs are asked for at once.
const AT_ONCE: usize = 4;

#[derive(Deserialize)]
struct Runs {
    workflow_runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    id: RunId,
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<WireJob>,
}

impl Github {
    /// The jobs of a repository that wait for a runner. What has not changed since it was asked for last costs nothing of
    /// the rate limit.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn queued_jobs(&self, repository: &Repository) -> Result<Vec<WorkflowJob>, Error> {
        let scope = repository.scope();
        let mut runs = BTreeSet::new();
        // A run in which some jobs are done and others wait is in progress.
        for status in ["queued", "in_progress"] {
            let mut url = self.of(repository, &["actions", "runs"]);
            url.query_pairs_mut().append_pair("status", status);
            let doing = format!("list the {status} runs of {repository}");
            let call = Call::get(doing, "runs", url).conditional();
            runs.extend(
                self.list(&scope, call, |page: Runs| page.workflow_runs).await?.iter().map(|run| run.id),
            );
        }
        let jobs = futures::stream::iter(runs).map(|run| self.waiting_of(repository, run)).buffered(AT_ONCE);
        jobs.try_concat().await
    }

    async fn waiting_of(&self, repository: &Repository, run: RunId) -> Result<Vec<WorkflowJob>, Error> {
        let mut url = self.of(repository, &["actions", "runs", &run.to_string(), "jobs"]);
        url.query_pairs_mut().append_pair("filter", "latest");
        let doing = format!("list the jobs of run {run} of {repository}");
        let call = Call::get(doing, "jobs", url).conditional();
        let waiting = |page: Jobs| {
            let jobs = page.jobs.into_iter().filter(|job| job.status == JobStatus::Queued.as_str());
            jobs.filter_map(|job| job.in_repository(repository)).collect()
        };
        match self.list(&repository.scope(), call, waiting).await {
            // The run was deleted since it was listed.
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// One job; none when there is no such job (any more).
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn workflow_job(
        &self,
        repository: &Repository,
        job: JobId,
    ) -> Result<Option<WorkflowJob>, Error> {
        let url = self.of(repository, &["actions", "jobs", &job.to_string()]);
        let call = Call::get(format!("look at job {job} of {repository}"), "job", url).conditional();
        let response = self.call(&repository.scope(), &call).await?;
        match response.status {
            StatusCode::OK => {
                let wire: WireJob = response.json("a job")?;
                let why = format!("the job's status '{:.40}' is unknown", wire.status);
                let unknown = || Error::Unexpected { doing: call.doing.clone(), why };
                wire.in_repository(repository).ok_or_else(unknown).map(Some)
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(response.failure()),
        }
    }

    pub(super) fn of(&self, repository: &Repository, more: &[&str]) -> url::Url {
        let mut at = vec!["repos", repository.owner(), repository.name()];
        at.extend(more);
        url(self.api(), &at)
    }
}
