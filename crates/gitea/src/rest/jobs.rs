//! The queue.

use std::collections::BTreeSet;

use crate::caller::Call;
use crate::pages;
use crate::wire::{ForgejoJob, GiteaJob};
use crate::{Error, Gitea, Job, JobStatus, Jobs, Scope, label_name};

/// Most jobs that are read of a queue, the oldest first. A Gitea gives them fifty at a time.
pub const MAX_JOBS: usize = 10_000;

impl Gitea {
    /// The jobs of a scope that wait for a runner or have one, the oldest first, at most [`MAX_JOBS`] of them. `labels` are
    /// those of each pool: a Forgejo before 14 tells of jobs by labels only; with others they change nothing, and what is
    /// given may be for none of them. Whatever changes while the list is read, a job that waits all the time is in it.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Unsupported`] for Gitea before 1.25 and Forgejo before 11.
    pub async fn jobs(&self, scope: &Scope, labels: &[Vec<String>]) -> Result<Vec<Job>, Error> {
        let doing = format!("list the jobs of {scope}");
        let (server, can) = self.can().await?;
        match can.jobs {
            Jobs::None => Err(server.lacks(doing, "API that lists waiting jobs", "1.25", "11")),
            Jobs::Listed => self.listed(doing, scope).await,
            Jobs::ByLabels => self.queue(doing, scope, Some(&names(labels))).await,
            Jobs::Unpaged => self.queue(doing, scope, None).await,
        }
    }

    async fn listed(&self, doing: String, scope: &Scope) -> Result<Vec<Job>, Error> {
        let mut url = self.actions(scope, &["jobs"]);
        url.query_pairs_mut().append_pair("status", "queued").append_pair("status", "in_progress");
        let call = Call::get(doing, url);
        let fetch = |number| self.list_page(&call, number, GiteaJob::id);
        let all = pages::all(MAX_JOBS, fetch).await?;
        if all.len() >= MAX_JOBS {
            tracing::warn!(%scope, "the queue has more than {MAX_JOBS} jobs; only the oldest {MAX_JOBS} were read");
        }
        Ok(all.into_iter().filter_map(|job| job.read(scope)).collect())
    }

    /// Forgejo's queue, of the jobs that ask for none but these labels, or of all.
    pub(super) async fn queue(
        &self,
        doing: String,
        scope: &Scope,
        labels: Option<&BTreeSet<&str>>,
    ) -> Result<Vec<Job>, Error> {
        if labels.is_some_and(BTreeSet::is_empty) {
            return Ok(Vec::new());
        }
        // The instance's has had this address from the first; the other came with 15.
        let mut url = match scope {
            Scope::Instance => crate::address::rest(self.base(), &["admin", "runners", "jobs"]),
            _ => self.actions(scope, &["runners", "jobs"]),
        };
        if let Some(labels) = labels {
            let list: Vec<&str> = labels.iter().copied().collect();
            url.query_pairs_mut().append_pair("labels", &list.join(","));
        }
        let response = self.ok(&Call::get(doing, url)).await?;
        let mut all: Vec<ForgejoJob> =
            self.read::<Option<_>>(&response, "a list of jobs")?.unwrap_or_default();
        all.sort_by_key(ForgejoJob::id);
        all.truncate(MAX_JOBS);
        let mut jobs: Vec<Job> = all.into_iter().filter_map(|job| job.read(scope)).collect();
        jobs.retain(|job| job.status != JobStatus::Done);
        let known = self.repositories().lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for job in &mut jobs {
            let name = job.repository_id.and_then(|id| known.get(&id));
            job.repository = job.repository.take().or_else(|| name.cloned());
        }
        Ok(jobs)
    }
}

/// All names in the labels of all pools. A job for one of them is among the jobs for all.
fn names(labels: &[Vec<String>]) -> BTreeSet<&str> {
    let names = labels.iter().flatten().map(|label| label_name(label));
    // A comma parts them; no label has one.
    names.filter(|name| !name.is_empty() && !name.contains(',')).collect()
}
