//! Runs and their jobs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::known::accounts::ScopeId;
use super::super::known::jobs::{Entry, Shown};
use super::super::state::State;
use super::paths::path_by_id;
use crate::http::{Ask, Reply};

impl State {
    /// A repository's jobs as lists show them.
    fn shown_jobs(&self, repository: u64) -> impl Iterator<Item = (&Entry, &Shown)> {
        let behind = self.behind();
        let own = self.jobs.entries.values().filter(move |job| job.repository == repository);
        own.filter_map(move |job| Some((job, job.past.shown(behind)?)))
    }

    pub(super) fn run_routes(&mut self, ask: &Ask, repository: u64, rest: &[&str]) -> Result<Reply, Reply> {
        let unknown = || Reply::error(404, "Not Found");
        let root = format!("{}/actions", path_by_id(ScopeId::Repository(repository)));
        match rest {
            ["runs"] => {
                let mut runs: BTreeMap<u64, Vec<(&Entry, &Shown)>> = BTreeMap::new();
                for (job, shown) in self.shown_jobs(repository) {
                    runs.entry(job.public.run_id).or_default().push((job, shown));
                }
                let wanted = |jobs: &[(&Entry, &Shown)]| {
                    let (status, conclusion) = Self::run_status(jobs);
                    ask.param("status").is_none_or(|wanted| wanted == status || Some(wanted) == conclusion)
                };
                // Newest first.
                let runs = runs.iter().rev().filter(|(_, jobs)| wanted(jobs));
                let all: Vec<Value> = runs.map(|(id, jobs)| self.run_object(*id, jobs)).collect();
                Ok(self.page(ask, &format!("{root}/runs"), Some("workflow_runs"), all, &[]))
            }
            ["runs", id] => {
                let of_run = |(job, _): &(&Entry, &Shown)| job.public.run_id.to_string() == *id;
                let jobs: Vec<_> = self.shown_jobs(repository).filter(of_run).collect();
                let first = jobs.first().ok_or_else(unknown)?.0.public.run_id;
                Ok(Reply::json(200, &self.run_object(first, &jobs)))
            }
            ["runs", id, "jobs"] => {
                let jobs =
                    self.shown_jobs(repository).filter(|(job, _)| job.public.run_id.to_string() == *id);
                let all: Vec<Value> = jobs.map(|(job, shown)| self.shown_job(job, shown)).collect();
                if all.is_empty() {
                    return Err(unknown());
                }
                Ok(self.page(ask, &format!("{root}/runs/{id}/jobs"), Some("jobs"), all, &[]))
            }
            ["jobs", id] => {
                let mut own = self.jobs.entries.values().filter(|job| job.repository == repository);
                let job = own.find(|job| job.public.id.to_string() == *id).ok_or_else(unknown)?;
                Ok(Reply::json(200, &self.job_object(job)))
            }
            _ => Err(unknown()),
        }
    }
}
