//! The job that a runner had, at a Gitea.

use super::job::scope_of;
use crate::caller::Call;
use crate::wire::GiteaJob;
use crate::{Error, Gitea, Job, Jobs, RunnerId};

/// Pages that are looked through, from the last one on: the list begins with the oldest job.
const PAGES: usize = 4;

impl Gitea {
    /// The latest job of a repository (`OWNER/NAME`) that this runner had, if it is among the last two hundred or so. For a
    /// runner of which only its log has said that it took a job.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Unsupported`] for Gitea before 1.25.
    pub async fn job_of_runner(&self, repository: &str, runner: RunnerId) -> Result<Option<Job>, Error> {
        let Some(scope) = scope_of(repository) else { return Ok(None) };
        let doing = format!("list the jobs of {scope}");
        let (server, can) = self.can().await?;
        if can.jobs == Jobs::None {
            return Err(server.lacks(doing, "jobs for programs", "1.25", "11"));
        }
        let call = Call::get(doing, self.actions(&scope, &["jobs"]));
        let mut page = self.list_page(&call, 1, GiteaJob::id).await?;
        let (size, total) = (page.items.len(), page.total.unwrap_or(page.items.len()));
        let last = total.div_ceil(size.max(1)).max(1);
        let mut read = 1;
        for number in (1..=last).rev().take(PAGES) {
            if number != read {
                page = self.list_page(&call, number, GiteaJob::id).await?;
                read = number;
            }
            let jobs = std::mem::take(&mut page.items).into_iter().filter_map(|(_, job)| job.read(&scope));
            let latest = jobs.filter(|job| job.runner == Some(runner)).max_by_key(|job| job.id);
            if latest.is_some() {
                return Ok(latest);
            }
        }
        Ok(None)
    }
}
