//! Jobs that wait at GitHub, as far as they were heard of.

use std::collections::{BTreeMap, HashSet, VecDeque};

use fireactions_github::{Repository, WorkflowJob};
use fireactions_model::{PoolName, RemoteJob};
use jiff::Timestamp;

use super::BEHIND;

/// Most jobs that are remembered; GitHub is asked again for the rest when these are gone.
const MOST: usize = 50_000;

/// Jobs that began or ended are remembered, so that a delivery that comes late or again does not queue them anew.
const GONE: usize = 20_000;

/// A job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::github) struct Waiting {
    /// Its number at GitHub; the number of the request for a job of a scale set.
    pub(in crate::github) id: u64,
    /// `owner/name`.
    pub(in crate::github) repository: String,
    pub(in crate::github) labels: Vec<String>,
    pub(in crate::github) queued_at: Option<Timestamp>,
    /// What is known of it.
    pub(in crate::github) remote: RemoteJob,
    /// When it was heard of last.
    pub(in crate::github) heard: Timestamp,
}

/// The jobs.
#[derive(Debug, Default)]
pub(in crate::github) struct Queue {
    /// By number, which GitHub gives out in order.
    waiting: BTreeMap<u64, Waiting>,
    /// Jobs that were assigned to scale sets. They do not count (statistics do); people want to see them.
    assigned: BTreeMap<(PoolName, u64), Waiting>,
    gone: HashSet<u64>,
    gone_order: VecDeque<u64>,
}

impl Queue {
    /// A job waits. False when that is no news.
    pub(in crate::github) fn add(&mut self, waiting: Waiting) -> bool {
        if self.gone.contains(&waiting.id) {
            return false;
        }
        if let Some(known) = self.waiting.get_mut(&waiting.id) {
            known.heard = waiting.heard;
            return false;
        }
        if self.waiting.len() >= MOST {
            return false;
        }
        self.waiting.insert(waiting.id, waiting);
        true
    }

    /// A job waits no more: it began, ended, or was cancelled. False when it was not known to wait.
    pub(in crate::github) fn remove(&mut self, id: u64) -> bool {
        if self.gone.insert(id) {
            self.gone_order.push_back(id);
            if self.gone_order.len() > GONE
                && let Some(oldest) = self.gone_order.pop_front()
            {
                self.gone.remove(&oldest);
            }
        }
        self.waiting.remove(&id).is_some()
    }

    /// What an audit that asked from `since` on saw waiting in a repository is all that waits there, but for what was heard of
    /// meanwhile or shortly before, which GitHub's list may not have yet. Gives whether anything changed, and the jobs that wait
    /// no more.
    pub(in crate::github) fn audited(
        &mut self,
        repository: &Repository,
        seen: Vec<Waiting>,
        since: Timestamp,
    ) -> (bool, Vec<Waiting>) {
        let ids: HashSet<u64> = seen.iter().map(|job| job.id).collect();
        let name = repository.to_string();
        let is_gone = |job: &&Waiting| {
            let heard = job.heard.saturating_add(BEHIND).unwrap_or(Timestamp::MAX);
            !ids.contains(&job.id) && heard < since && job.repository.eq_ignore_ascii_case(&name)
        };
        let gone: Vec<u64> = self.waiting.values().filter(is_gone).map(|job| job.id).collect();
        let gone: Vec<Waiting> = gone.iter().filter_map(|id| self.waiting.remove(id)).collect();
        let mut changed = !gone.is_empty();
        for job in seen {
            changed |= self.add(job);
        }
        (changed, gone)
    }

    /// A job was assigned to a pool's scale set.
    pub(in crate::github) fn assign(&mut self, pool: &PoolName, waiting: Waiting) {
        if self.assigned.len() < MOST {
            self.assigned.insert((pool.clone(), waiting.id), waiting);
        }
    }

    /// A job of a scale set began or ended.
    pub(in crate::github) fn unassign(&mut self, pool: &PoolName, request: u64) -> Option<Waiting> {
        self.assigned.remove(&(pool.clone(), request))
    }

    /// GitHub says how many jobs of a set wait; more than that were forgotten on the way (a session was lost).
    pub(in crate::github) fn keep_assigned(&mut self, pool: &PoolName, most: u32) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let all: Vec<u64> = self.assigned_to(pool).map(|waiting| waiting.id).collect();
        for id in all.iter().take(all.len().saturating_sub(most)) {
            self.assigned.remove(&(pool.clone(), *id));
        }
    }

    /// Jobs assigned to a pool's scale set, the oldest first.
    pub(in crate::github) fn assigned_to(&self, pool: &PoolName) -> impl Iterator<Item = &Waiting> {
        let pool = pool.clone();
        self.assigned.iter().filter(move |((of, _), _)| *of == pool).map(|(_, waiting)| waiting)
    }

    /// Every job that waits, with its pool where a scale set has it.
    pub(in crate::github) fn all(&self) -> impl Iterator<Item = (Option<&PoolName>, &Waiting)> {
        let assigned = self.assigned.iter().map(|((pool, _), waiting)| (Some(pool), waiting));
        self.waiting.values().map(|waiting| (None, waiting)).chain(assigned)
    }

    /// Jobs without a scale set, the oldest first.
    pub(in crate::github) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    pub(in crate::github) fn get(&self, id: u64) -> Option<&Waiting> {
        self.waiting.get(&id)
    }
}

impl Waiting {
    /// Since when it waits.
    pub(in crate::github) fn since(&self) -> Timestamp {
        self.queued_at.unwrap_or(self.heard)
    }

    /// A queued job, as a webhook or the audit tells it.
    pub(in crate::github) fn of(job: &WorkflowJob, scope: &str, heard: Timestamp) -> Self {
        let mut remote = RemoteJob {
            forge: super::super::NAME.to_owned(),
            scope: scope.to_owned(),
            ..RemoteJob::default()
        };
        describe(&mut remote, job);
        Self {
            id: job.id.get(),
            repository: job.repository.to_string(),
            labels: job.labels.clone(),
            queued_at: job.created_at,
            remote,
            heard,
        }
    }
}

/// Takes over what a webhook or the audit tells of a job.
pub(in crate::github) fn describe(remote: &mut RemoteJob, job: &WorkflowJob) {
    remote.id = Some(job.id.get());
    remote.run_id = Some(job.run_id.get());
    remote.repository = Some(job.repository.to_string());
    remote.name = Some(job.name.clone());
    remote.labels.clone_from(&job.labels);
    for (known, told) in [(&mut remote.workflow, &job.workflow), (&mut remote.conclusion, &job.conclusion)] {
        if told.is_some() {
            known.clone_from(told);
        }
    }
    if !job.url.is_empty() {
        remote.url = Some(job.url.clone());
    }
    if remote.queued_at.is_none() {
        remote.queued_at = job.created_at;
    }
}
