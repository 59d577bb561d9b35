//! One job, as it stands.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::address::rest;
use crate::caller::Call;
use crate::wire::{ForgejoJob, GiteaJob, WireRun, WireTask};
use crate::{Error, Gitea, Job, JobStatus, Jobs, Kind, Scope};

/// Pages of tasks that are looked through for one; the latest are on the first.
const TASK_PAGES: usize = 4;
/// Most repositories whose names are kept.
const MAX_REPOSITORIES: usize = 10_000;

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

impl Gitea {
    /// A job as it is now, with how it ended where the server tells; none when it is gone. What was known of it is kept
    /// where nothing newer is told. The first time its run is asked for as well: for its workflow, branch and user.
    ///
    /// A job that was run again keeps its number. Where it is seen that the attempt is another than the one that is known, by
    /// handle, runner or task, the list of tasks is asked how that one ended; it is gone where no task is known.
    ///
    /// At Forgejo before 17 a job that left the queue before a runner had it is gone; one that a runner had is found in the
    /// list of tasks, if [`Job::task`] is known and it is among the last two hundred of its repository. At Gitea before 1.25 this
    /// list is all there is.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Unsupported`] for Forgejo before 11, and for Gitea before 1.25 where the task is not known.
    pub async fn job(&self, job: &Job) -> Result<Option<Job>, Error> {
        let doing = format!("look at job {} of {}", job.id, job.scope);
        let (server, can) = self.can().await?;
        if can.jobs == Jobs::None {
            let repository = job.repository.as_deref().and_then(scope_of);
            let known = repository.filter(|_| self.kind() == Kind::Gitea && job.task.is_some());
            let Some(repository) = known else {
                return Err(server.lacks(doing, "API for jobs", "1.25", "11"));
            };
            return self.by_task(doing, &repository, job).await;
        }
        let mut known = job.clone();
        if known.repository.is_none() {
            known.repository = self.repository(known.repository_id).await?;
        }
        let Some(repository) = known.repository.as_deref().and_then(scope_of) else {
            if self.kind() == Kind::Gitea {
                let why = "its repository is unknown".to_owned();
                return Err(Error::Unsupported { doing, why });
            }
            let found =
                self.in_queue(doing, &known, can.jobs).await?.filter(|found| !is_another(found, &known));
            return Ok(found.map(|mut found| {
                fill(&mut found, &known);
                found
            }));
        };
        let found = if can.job_api {
            self.by_number(doing, &repository, &known).await?
        } else {
            match self.in_queue(doing.clone(), &known, can.jobs).await? {
                Some(found) => Some(found),
                None => self.by_task(doing, &repository, &known).await?,
            }
        };
        let found = match found {
            Some(found) if is_another(&found, &known) => {
                let doing = format!("look at an earlier attempt of job {} of {}", job.id, job.scope);
                self.by_task(doing, &repository, &known).await?
            }
            found => found,
        };
        let Some(mut found) = found else { return Ok(None) };
        fill(&mut found, &known);
        if found.workflow.is_none() {
            self.tell_run(&repository, &mut found).await?;
        }
        Ok(Some(found))
    }

    async fn by_number(&self, doing: String, repository: &Scope, job: &Job) -> Result<Option<Job>, Error> {
        let call = Call::get(doing, self.actions(repository, &["jobs", &job.id.to_string()]));
        let response = self.caller().send(&call).await?;
        match response.status {
            StatusCode::OK if self.kind() == Kind::Gitea => {
                Ok(self.read::<GiteaJob>(&response, "a job")?.read(&job.scope))
            }
            StatusCode::OK => Ok(self.read::<ForgejoJob>(&response, "a job")?.read(&job.scope)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.failure(&call, &response)),
        }
    }

    /// Forgejo's queue, as far as it is of jobs like this.
    async fn in_queue(&self, doing: String, job: &Job, jobs: Jobs) -> Result<Option<Job>, Error> {
        let labels: BTreeSet<&str> = job.runs_on.iter().map(String::as_str).collect();
        let labels = (jobs == Jobs::ByLabels || !labels.is_empty()).then_some(&labels);
        let queue = self.queue(doing, &job.scope, labels).await?;
        Ok(queue.into_iter().find(|queued| queued.id == job.id))
    }

    /// What a runner had of it.
    async fn by_task(&self, doing: String, repository: &Scope, job: &Job) -> Result<Option<Job>, Error> {
        let Some(task) = job.task else { return Ok(None) };
        let call = Call::get(doing, self.actions(repository, &["tasks"]));
        for number in 1..=TASK_PAGES {
            let page = self.list_page(&call, number, |task: &WireTask| task.id).await?;
            let past = page.items.iter().all(|(id, _)| *id < task);
            if let Some((_, wire)) = page.items.into_iter().find(|(id, _)| *id == task) {
                let mut found = job.clone();
                wire.tell(&mut found);
                return Ok(Some(found));
            }
            if past {
                break;
            }
        }
        Ok(None)
    }

    /// A repository's name; none when there is no such repository or the token may not see it.
    pub(super) async fn repository(&self, id: Option<u64>) -> Result<Option<String>, Error> {
        let Some(id) = id else { return Ok(None) };
        let known = || self.repositories().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known().get(&id) {
            return Ok(Some(name.clone()));
        }
        let call = Call::get(
            format!("ask for the name of repository {id}"),
            rest(self.base(), &["repositories", &id.to_string()]),
        );
        let response = self.caller().send(&call).await?;
        match response.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => return Ok(None),
            _ => return Err(self.failure(&call, &response)),
        }
        let named: Named = self.read(&response, "a repository")?;
        if scope_of(&named.full_name).is_none() {
            return Ok(None);
        }
        let mut known = known();
        if known.len() >= MAX_REPOSITORIES {
            // What is forgotten is asked for again.
            known.clear();
        }
        known.insert(id, named.full_name.clone());
        Ok(Some(named.full_name))
    }

    /// Puts in what the job's run tells. A run that the token may not see tells nothing.
    async fn tell_run(&self, repository: &Scope, job: &mut Job) -> Result<(), Error> {
        let Some(run) = job.run_id else { return Ok(()) };
        let call = Call::get(
            format!("look at run {run} of {repository}"),
            self.actions(repository, &["runs", &run.to_string()]),
        );
        let response = self.caller().send(&call).await?;
        match response.status {
            StatusCode::OK => self.read::<WireRun>(&response, "a run")?.tell(job),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => {}
            _ => return Err(self.failure(&call, &response)),
        }
        Ok(())
    }
}

/// `OWNER/NAME`.
pub(super) fn scope_of(repository: &str) -> Option<Scope> {
    let (owner, name) = repository.split_once('/')?;
    Scope::repository(owner, name).ok()
}

/// Whether the job was run again since it was known: it is another attempt.
fn is_another(found: &Job, known: &Job) -> bool {
    fn differ<T: PartialEq>(found: Option<&T>, known: Option<&T>) -> bool {
        found.zip(known).is_some_and(|(found, known)| found != known)
    }
    let waits_again = matches!(found.status, JobStatus::Waiting | JobStatus::Blocked) && known.task.is_some();
    waits_again
        || differ(found.handle.as_ref(), known.handle.as_ref())
        || differ(found.task.as_ref(), known.task.as_ref())
        || differ(found.runner.as_ref(), known.runner.as_ref())
}

/// What is not told again stays.
fn fill(job: &mut Job, known: &Job) {
    fn keep<T: Clone>(now: &mut Option<T>, before: Option<&T>) {
        if now.is_none() {
            *now = before.cloned();
        }
    }
    keep(&mut job.handle, known.handle.as_ref());
    keep(&mut job.run_id, known.run_id.as_ref());
    keep(&mut job.workflow, known.workflow.as_ref());
    keep(&mut job.repository, known.repository.as_ref());
    keep(&mut job.repository_id, known.repository_id.as_ref());
    keep(&mut job.git_ref, known.git_ref.as_ref());
    keep(&mut job.actor, known.actor.as_ref());
    keep(&mut job.url, known.url.as_ref());
    keep(&mut job.created_at, known.created_at.as_ref());
    // A job that waits again has another runner before it.
    if !matches!(job.status, JobStatus::Waiting | JobStatus::Blocked) {
        keep(&mut job.task, known.task.as_ref());
        keep(&mut job.runner, known.runner.as_ref());
        keep(&mut job.runner_name, known.runner_name.as_ref());
        keep(&mut job.started_at, known.started_at.as_ref());
    }
}
