//! Jobs and what became of them.

use std::time::Duration;

use super::FakeGithub;
use super::known::accounts::{Scope, ScopeId};
use super::known::jobs::{AssignmentResult, Entry, Job, JobId, JobRequest, JobStatus};
use super::known::lists::Past;
use super::state::State;

impl State {
    pub(super) fn job(&mut self, id: JobId) -> &mut Entry {
        self.jobs.entries.get_mut(&id).expect("jobs stay")
    }

    fn queue(&mut self, request: JobRequest, run_id: u64, status: JobStatus) -> JobId {
        let scope = Scope::Repository(request.repository.clone());
        let ScopeId::Repository(repository) = self.scope(&scope) else { unreachable!() };
        let id = JobId(self.long_id());
        let public = Job {
            id,
            run_id,
            request,
            status,
            conclusion: None,
            assignments: Vec::new(),
            log: String::new(),
            queued_at: self.clock.now(),
            started_at: None,
            completed_at: None,
        };
        let past = Past::default();
        let entry = Entry { public, repository, cancelling: false, set: None, assigned: None, past };
        self.jobs.entries.insert(id, entry);
        self.tell_webhooks(id, status.word());
        self.touch();
        id
    }

    /// A runner begins with its job.
    pub(super) fn pick_up(&mut self, id: JobId) {
        let now = self.clock.now();
        let job = self.job(id);
        job.public.status = JobStatus::InProgress;
        job.public.started_at = Some(now);
        job.assigned = None;
        if let Some(assignment) = job.public.assignments.last_mut() {
            assignment.picked_up_at = Some(now);
        }
        self.touch();
        self.tell_webhooks(id, "in_progress");
        self.tell_set(id, "JobStarted", None);
    }

    /// A job is over.
    pub(super) fn complete(&mut self, id: JobId, outcome: AssignmentResult) {
        let now = self.clock.now();
        let job = self.job(id);
        if job.public.status == JobStatus::Completed {
            return;
        }
        job.public.status = JobStatus::Completed;
        job.public.conclusion = Some(outcome.conclusion().into());
        job.public.completed_at = Some(now);
        job.assigned = None;
        if let Some(assignment) = job.public.assignments.last_mut().filter(|last| last.outcome.is_none()) {
            assignment.outcome = Some(outcome);
        }
        self.touch();
        self.tell_webhooks(id, "completed");
        self.tell_set(id, "JobCompleted", Some(outcome.result()));
    }

    /// A job's runner is gone: if it had not begun, another gets the job.
    pub(super) fn runner_left(&mut self, id: JobId, outcome: AssignmentResult) {
        match self.job(id).public.status {
            JobStatus::InProgress => self.complete(id, outcome),
            JobStatus::Queued => self.requeue(id, outcome),
            JobStatus::Waiting | JobStatus::Completed => {}
        }
    }

    fn requeue(&mut self, id: JobId, outcome: AssignmentResult) {
        let job = self.job(id);
        job.assigned = None;
        if let Some(assignment) = job.public.assignments.last_mut() {
            assignment.outcome = Some(outcome);
        }
        self.touch();
    }

    /// Queues jobs again whose runners did not take them. Such a runner is no longer counted as connected.
    pub(super) fn requeue_forgotten(&mut self) {
        let pickup = self.jobs.pickup;
        let late = |entry: &&Entry| entry.assigned.is_some_and(|since| since.elapsed() > pickup);
        let late: Vec<JobId> = self.jobs.entries.values().filter(late).map(|entry| entry.public.id).collect();
        for id in late {
            for runner in self.runners.entries.values_mut().filter(|entry| entry.public.job == Some(id)) {
                runner.public.job = None;
                runner.public.online = false;
            }
            self.requeue(id, AssignmentResult::NotPickedUp);
        }
    }
}

impl FakeGithub {
    /// Queues a job as a run of its own.
    ///
    /// # Panics
    ///
    /// When the repository is not set up.
    pub fn queue_job(&self, request: JobRequest) -> JobId {
        self.queue_run(vec![request])[0]
    }

    /// Queues the jobs of one run.
    ///
    /// # Panics
    ///
    /// When a repository is not set up.
    pub fn queue_run(&self, requests: Vec<JobRequest>) -> Vec<JobId> {
        self.shared.with(|state| {
            let run = state.long_id();
            requests.into_iter().map(|request| state.queue(request, run, JobStatus::Queued)).collect()
        })
    }

    /// A job that needs a person's approval before it is queued.
    ///
    /// # Panics
    ///
    /// When the repository is not set up.
    pub fn hold_job(&self, request: JobRequest) -> JobId {
        self.shared.with(|state| {
            let run = state.long_id();
            state.queue(request, run, JobStatus::Waiting)
        })
    }

    /// Queues a job that was held.
    pub fn approve_job(&self, id: JobId) {
        self.shared.with(|state| {
            state.job(id).public.status = JobStatus::Queued;
            state.job(id).public.queued_at = state.clock.now();
            state.tell_webhooks(id, "queued");
            state.touch();
        });
    }

    /// Cancels a job: at once if no runner has it, else once its runner has stopped it.
    pub fn cancel_job(&self, id: JobId) {
        self.shared.with(|state| {
            let waiting = matches!(state.job(id).public.status, JobStatus::Waiting | JobStatus::Queued);
            if waiting {
                for runner in state.runners.entries.values_mut().filter(|entry| entry.public.job == Some(id))
                {
                    runner.public.job = None;
                }
                state.complete(id, AssignmentResult::Cancelled);
            } else {
                state.job(id).cancelling = true;
                state.touch();
            }
        });
    }

    /// A job that its runner does not take within this time is queued again; a minute unless set.
    pub fn set_pickup_timeout(&self, time: Duration) {
        self.shared.with(|state| state.jobs.pickup = time);
    }

    /// A job and its history.
    ///
    /// # Panics
    ///
    /// When there is none of this id.
    pub fn job(&self, id: JobId) -> Job {
        self.shared.with(|state| state.job(id).public.clone())
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        self.shared.with(|state| state.jobs.entries.values().map(|entry| entry.public.clone()).collect())
    }

    /// Jobs that were lost or doubled: those that are over without having been run exactly once, unless they were
    /// cancelled before a runner had them.
    pub fn unsound_jobs(&self) -> Vec<String> {
        let unsound = |job: &Job| {
            let completed = job.status == JobStatus::Completed;
            let cancelled = job.runs() == 0 && job.conclusion.as_deref() == Some("cancelled");
            job.runs() > 1 || completed && job.runs() != 1 && !cancelled
        };
        let jobs = self.jobs().into_iter().filter(unsound);
        jobs.map(|job| format!("job {} was run {} times: {:?}", job.id, job.runs(), job.assignments))
            .collect()
    }

    /// Jobs that are not over.
    pub fn open_jobs(&self) -> Vec<JobId> {
        let open = |job: &Job| job.status != JobStatus::Completed;
        self.jobs().into_iter().filter(open).map(|job| job.id).collect()
    }

    /// Waits until a job is over.
    ///
    /// # Panics
    ///
    /// When it is not after `within`.
    pub fn wait_completed(&self, id: JobId, within: Duration) -> Job {
        self.wait_for(&format!("job {id} is completed"), within, |fake| {
            Some(fake.job(id)).filter(|job| job.status == JobStatus::Completed)
        })
    }
}
