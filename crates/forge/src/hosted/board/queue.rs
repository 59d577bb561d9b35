//! Jobs that wait at the forge, as far as they were heard of.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use fireactions_model::{PoolName, RemoteJob};
use jiff::Timestamp;

/// Most jobs that are remembered; the forge is asked again for the rest when these are gone.
const MOST: usize = 50_000;

/// Jobs that began or ended are remembered, so that a delivery that comes late or again does not queue them anew.
const GONE: usize = 20_000;

/// A job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its number at the forge; the number of the request for a job that GitHub assigned to a scale set.
    pub(crate) id: u64,
    /// `owner/name`.
    pub(crate) repository: String,
    pub(crate) labels: Vec<String>,
    pub(crate) queued_at: Option<Timestamp>,
    /// How often a runner was given it so far, where the forge says so: one that keeps a job's number when the job is run again.
    pub(crate) tries: u64,
    /// What is known of it.
    pub(crate) remote: RemoteJob,
    /// When it was heard of last, by a clock that nobody sets.
    pub(crate) heard: Instant,
    /// When it was heard of, for people.
    pub(crate) told: Timestamp,
}

/// What decides which pools' runners a job may be given to: jobs with the same of it go the same ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wants<'a> {
    /// Where it was listed.
    pub(crate) scope: &'a str,
    /// `owner/name`.
    pub(crate) repository: &'a str,
    pub(crate) labels: &'a [String],
}

impl Waiting {
    /// What decides where it may run.
    pub(crate) fn wants(&self) -> Wants<'_> {
        Wants { scope: &self.remote.scope, repository: &self.repository, labels: &self.labels }
    }
}

/// The jobs.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// By number, which forges give out in order.
    waiting: BTreeMap<u64, Waiting>,
    /// Jobs that the forge assigned to pools. They do not count (its own count does); people want to see them.
    assigned: BTreeMap<(PoolName, u64), Waiting>,
    gone: HashMap<u64, Gone>,
    gone_order: VecDeque<u64>,
}

/// A job that waited, or was never heard of before it began.
#[derive(Debug, Clone, Copy)]
struct Gone {
    /// When that was heard.
    at: Instant,
    tries: u64,
}

impl Gone {
    /// Whether a job that is said to wait has begun or ended since that was true, by the tries that are told. A job that is
    /// run again waits with as many as it had; before its first it had none, and so has a delivery that comes late.
    fn is_later_than(self, waiting: &Waiting) -> bool {
        self.tries == 0 || waiting.tries < self.tries
    }
}

impl Queue {
    /// A job waits. False when that is no news.
    pub(crate) fn add(&mut self, waiting: Waiting) -> bool {
        let is_late = self.gone.get(&waiting.id).is_some_and(|gone| gone.is_later_than(&waiting));
        self.put(waiting, is_late)
    }

    fn put(&mut self, waiting: Waiting, is_late: bool) -> bool {
        if let Some(known) = self.waiting.get_mut(&waiting.id) {
            if known.remote.handle == waiting.remote.handle {
                known.heard = known.heard.max(waiting.heard);
            } else if known.heard <= waiting.heard {
                // It was cancelled and is run again: what a runner is to ask for is another one.
                *known = waiting;
            }
            return false;
        }
        if is_late {
            return false;
        }
        if self.waiting.len() >= MOST {
            return false;
        }
        self.waiting.insert(waiting.id, waiting);
        true
    }

    /// A job waits no more: it began, ended, or was cancelled, as was heard now; a runner was given it so often. False when it
    /// was not known to wait.
    pub(crate) fn remove(&mut self, id: u64, tries: u64, now: Instant) -> bool {
        if self.gone.insert(id, Gone { at: now, tries }).is_none() {
            self.gone_order.push_back(id);
            if self.gone_order.len() > GONE
                && let Some(oldest) = self.gone_order.pop_front()
            {
                self.gone.remove(&oldest);
            }
        }
        self.waiting.remove(&id).is_some()
    }

    /// The job that a runner was for was not left for it. False when it was not known to wait, or waits again: it has another
    /// handle then.
    pub(crate) fn missed(&mut self, id: u64, handle: Option<&str>, now: Instant) -> bool {
        let is_it = self.waiting.get(&id).is_none_or(|waiting| waiting.remote.handle.as_deref() == handle);
        is_it && self.remove(id, 0, now)
    }

    /// What was seen when the forge was asked for the jobs that `asked` is true of, is all of those that wait, but for what was
    /// heard of later than `behind` before `since`, which the forge's list may not have. What was heard of before that, it
    /// overrules: a job that had gone and waits is run again. Gives whether anything changed, and the jobs that wait no more.
    pub(crate) fn audited(
        &mut self,
        asked: impl Fn(&Waiting) -> bool,
        seen: Vec<Waiting>,
        since: Instant,
        behind: Duration,
    ) -> (bool, Vec<Waiting>) {
        let ids: HashSet<u64> = seen.iter().map(|job| job.id).collect();
        let is_gone = |job: &&Waiting| !ids.contains(&job.id) && job.heard + behind < since && asked(job);
        let gone: Vec<u64> = self.waiting.values().filter(is_gone).map(|job| job.id).collect();
        let gone: Vec<Waiting> = gone.iter().filter_map(|id| self.waiting.remove(id)).collect();
        let mut changed = !gone.is_empty();
        for job in seen {
            let is_late = self.gone.get(&job.id).is_some_and(|gone| gone.at + behind >= since);
            changed |= self.put(job, is_late);
        }
        (changed, gone)
    }

    /// The forge assigned a job to a pool.
    pub(crate) fn assign(&mut self, pool: &PoolName, waiting: Waiting) {
        if self.assigned.len() < MOST {
            self.assigned.insert((pool.clone(), waiting.id), waiting);
        }
    }

    /// A job that was assigned began or ended.
    pub(crate) fn unassign(&mut self, pool: &PoolName, request: u64) -> Option<Waiting> {
        self.assigned.remove(&(pool.clone(), request))
    }

    /// These are all jobs of a pool that its host was given.
    pub(crate) fn give(&mut self, pool: &PoolName, jobs: impl Iterator<Item = Waiting>) {
        self.assigned.retain(|(of, _), _| of != pool);
        for waiting in jobs {
            self.assign(pool, waiting);
        }
    }

    /// The forge says how many assigned jobs of a pool wait; more than that were forgotten on the way.
    pub(crate) fn keep_assigned(&mut self, pool: &PoolName, most: u32) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let all: Vec<u64> = self.assigned_to(pool).map(|waiting| waiting.id).collect();
        for id in all.iter().take(all.len().saturating_sub(most)) {
            self.assigned.remove(&(pool.clone(), *id));
        }
    }

    /// Jobs assigned to a pool, the oldest first.
    pub(crate) fn assigned_to(&self, pool: &PoolName) -> impl Iterator<Item = &Waiting> {
        let pool = pool.clone();
        self.assigned.iter().filter(move |((of, _), _)| *of == pool).map(|(_, waiting)| waiting)
    }

    /// Every job that waits, with its pool where the forge assigned it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Option<&PoolName>, &Waiting)> {
        let assigned = self.assigned.iter().map(|((pool, _), waiting)| (Some(pool), waiting));
        self.waiting.values().map(|waiting| (None, waiting)).chain(assigned)
    }

    /// Jobs that were not assigned, the oldest first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Waiting> {
        self.waiting.get(&id)
    }
}

impl Waiting {
    /// One that another host has heard of. Nothing without its number.
    pub(crate) fn of_other(remote: RemoteJob, now: Instant) -> Option<Self> {
        Some(Self {
            id: remote.id?,
            repository: remote.repository.clone().unwrap_or_default(),
            labels: remote.labels.clone(),
            queued_at: remote.queued_at,
            tries: 0,
            remote,
            heard: now,
            told: Timestamp::now(),
        })
    }

    /// Since when it waits.
    pub(crate) fn since(&self) -> Timestamp {
        self.queued_at.unwrap_or(self.told)
    }

    /// Adds what is known of the job to what is known of its runner.
    pub(crate) fn describe(&self, remote: &mut RemoteJob) {
        describe(remote, &self.remote);
    }
}

/// Adds what was told of a job to what is known of its runner.
pub(crate) fn describe(remote: &mut RemoteJob, job: &RemoteJob) {
    take(&mut remote.id, job.id.as_ref());
    take(&mut remote.handle, job.handle.as_ref());
    take(&mut remote.task, job.task.as_ref());
    take(&mut remote.run_id, job.run_id.as_ref());
    take(&mut remote.repository, job.repository.as_ref());
    take(&mut remote.git_ref, job.git_ref.as_ref());
    take(&mut remote.actor, job.actor.as_ref());
    take(&mut remote.workflow, job.workflow.as_ref());
    take(&mut remote.name, job.name.as_ref());
    take(&mut remote.url, job.url.as_ref());
    take(&mut remote.conclusion, job.conclusion.as_ref());
    if !job.labels.is_empty() {
        remote.labels.clone_from(&job.labels);
    }
    remote.queued_at = remote.queued_at.or(job.queued_at);
}

/// What was told counts over what was known.
fn take<T: Clone>(known: &mut Option<T>, told: Option<&T>) {
    if told.is_some() {
        *known = told.cloned();
    }
}
