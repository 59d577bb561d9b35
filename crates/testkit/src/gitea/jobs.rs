//! Runs: begun, cancelled, gone on with.

use jiff::Timestamp;

use crate::http::uuid;

use super::FakeGitea;
use super::known::jobs::{Entry, Job, JobId, JobRequest, JobStatus, Run, Workflow};
use super::known::runners::RunnerFate;
use super::state::State;

/// A task that its runner says nothing of for so many seconds is ended by the forge, when it looks.
const ZOMBIE: i64 = 600;

impl State {
    /// Begins a run and gives its id.
    pub(super) fn begin(&mut self, workflow: Workflow, actor: u64) -> u64 {
        let (owner, name) = workflow.repository.split_once('/').expect("owner/name");
        let repository = self.accounts.repository_named(owner, name);
        let repository = repository.unwrap_or_else(|| panic!("there is no '{}'", workflow.repository)).id;
        let id = self.jobs.runs.keys().next_back().map_or(1, |last| last + 1);
        let number = 1 + self.jobs.runs.values().filter(|run| run.repository == repository).count() as u64;
        let now = self.now();
        let first = self.jobs.entries.keys().next_back().map_or(1, |last| last + 1);
        let ids: Vec<u64> = (first..).take(workflow.jobs.len()).collect();
        for (&id_of_job, request) in ids.iter().zip(&workflow.jobs) {
            let status = if request.needs.is_empty() { JobStatus::Waiting } else { JobStatus::Blocked };
            let entry = Entry {
                id: id_of_job,
                run: id,
                repository,
                request: request.clone(),
                status,
                handle: uuid(),
                reruns: 0,
                given: 0,
                task: None,
                created: now,
                queued: now,
                started: None,
                stopped: None,
            };
            self.jobs.entries.insert(id_of_job, entry);
            self.renew_tasks(repository);
        }
        let run = Run { id, repository, number, workflow, actor, jobs: ids.clone(), created: now };
        self.jobs.runs.insert(id, run);
        for id in ids {
            self.tell_hooks(id);
        }
        self.touch();
        id
    }

    /// A job is over, and its task if it has one; jobs that need it go on. It ended when its runner says, else now.
    pub(super) fn end_job(
        &mut self,
        id: u64,
        status: JobStatus,
        fate: RunnerFate,
        stopped: Option<Timestamp>,
    ) {
        self.stop_job(id, status, fate, stopped);
        self.unblock(id);
    }

    fn stop_job(&mut self, id: u64, status: JobStatus, fate: RunnerFate, stopped: Option<Timestamp>) {
        let now = self.now();
        let job = self.jobs.entry(id);
        if job.status.is_done() {
            return;
        }
        job.status = status;
        let stopped = stopped.unwrap_or(now);
        job.stopped = Some(stopped);
        if let Some(task) = job.task {
            let task = self.jobs.task(task);
            task.ended = Some((status, stopped));
            for (_, stopped) in &mut task.steps {
                stopped.get_or_insert(now);
            }
            let runner = task.runner;
            if self.runners.entries[&runner].public.ephemeral {
                self.remove_runner(runner, fate);
            }
        }
        self.tell_hooks(id);
        self.touch();
    }

    /// Jobs that needed this one wait now, or need not run.
    fn unblock(&mut self, ended: u64) {
        let run = self.jobs.entries[&ended].run;
        let all: Vec<u64> = self.jobs.runs[&run].jobs.clone();
        for id in all {
            let job = &self.jobs.entries[&id];
            if job.status != JobStatus::Blocked {
                continue;
            }
            let needs: Vec<JobStatus> = self.needed(job).map(|needed| needed.status).collect();
            if !needs.iter().all(|status| status.is_done()) {
                continue;
            }
            if needs.iter().all(|&status| status == JobStatus::Success) {
                let (now, repository) = (self.now(), job.repository);
                let job = self.jobs.entry(id);
                job.status = JobStatus::Waiting;
                job.queued = now;
                self.renew_tasks(repository);
                self.tell_hooks(id);
            } else {
                self.end_job(id, JobStatus::Skipped, RunnerFate::Used, None);
            }
        }
    }

    /// The jobs that a job needs.
    pub(super) fn needed<'a>(&'a self, job: &'a Entry) -> impl Iterator<Item = &'a Entry> {
        let all = self.jobs.runs[&job.run].jobs.iter().map(|id| &self.jobs.entries[id]);
        all.filter(|other| job.request.needs.contains(&other.request.name))
    }

    /// Ends a run as the button on its page does.
    pub(super) fn cancel_run(&mut self, run: u64) {
        for id in self.jobs.runs[&run].jobs.clone() {
            self.stop_job(id, JobStatus::Cancelled, RunnerFate::Cancelled, None);
        }
    }

    /// Has a job that ended wait once more, as the button on its page does: the same row, with nothing of its last attempt but
    /// how often there was one. Forgejo makes a new handle.
    fn rerun(&mut self, id: u64) {
        let now = self.now();
        let job = self.jobs.entry(id);
        assert!(job.status.is_done(), "{job:?} has not ended");
        job.status = JobStatus::Waiting;
        (job.task, job.started, job.stopped) = (None, None, None);
        (job.handle, job.queued) = (uuid(), now);
        job.reruns += 1;
        let repository = job.repository;
        self.renew_tasks(repository);
        self.tell_hooks(id);
        self.touch();
    }

    /// Ends tasks that nobody tells of.
    pub(super) fn stop_zombies(&mut self) {
        let now = self.now().as_second();
        let forgotten = |job: &&Entry| {
            job.status == JobStatus::Running
                && self.jobs.task_of(job).is_some_and(|task| now - task.updated.as_second() > ZOMBIE)
        };
        let forgotten: Vec<u64> = self.jobs.entries.values().filter(forgotten).map(|job| job.id).collect();
        for id in forgotten {
            self.end_job(id, JobStatus::Failure, RunnerFate::Used, None);
        }
    }

    fn public(&self, job: &Entry) -> Job {
        let task = self.jobs.task_of(job);
        Job {
            id: JobId(job.id),
            run: job.run,
            repository: self.accounts.full_name(job.repository),
            name: job.request.name.clone(),
            status: job.status,
            handle: job.handle.clone(),
            runner: task.map(|task| task.runner),
            runner_name: task.map(|task| task.runner_name.clone()),
            log: task.map(|task| task.log.iter().map(|(_, line)| line.clone()).collect()).unwrap_or_default(),
            log_is_whole: task.is_some_and(|task| task.log_is_whole),
        }
    }
}

impl FakeGitea {
    /// Begins a run with these jobs.
    ///
    /// # Panics
    ///
    /// When the repository is not set up.
    pub fn begin(&self, workflow: Workflow) -> Vec<JobId> {
        self.shared.with(|state| {
            let actor = state.accounts.all.first().expect("somebody").id;
            let run = state.begin(workflow, actor);
            state.jobs.runs[&run].jobs.iter().copied().map(JobId).collect()
        })
    }

    /// Queues a job as a run of its own.
    ///
    /// # Panics
    ///
    /// When the repository is not set up.
    pub fn queue_job(&self, repository: &str, runs_on: &[&str]) -> JobId {
        self.begin(Workflow::push(repository, vec![JobRequest::new("build", runs_on)]))[0]
    }

    /// Queues so many jobs, each as a run of its own, all at one time.
    ///
    /// # Panics
    ///
    /// When the repository is not set up.
    pub fn queue_jobs(&self, repository: &str, runs_on: &[&str], count: usize) -> Vec<JobId> {
        (0..count).map(|_| self.queue_job(repository, runs_on)).collect()
    }

    /// Cancels a job's run, as the button on its page does: an ephemeral runner that has the job is deleted at once and
    /// never told.
    pub fn cancel(&self, job: JobId) {
        self.shared.with(|state| state.cancel_run(state.jobs.entries[&job.0].run));
    }

    /// Runs a job again that has ended.
    ///
    /// # Panics
    ///
    /// When it has not.
    pub fn rerun(&self, job: JobId) {
        self.shared.with(|state| state.rerun(job.0));
    }

    /// Ends tasks whose runners said nothing for ten minutes, as the forge's own timer does.
    pub fn stop_zombies(&self) {
        self.shared.with(State::stop_zombies);
    }

    /// A job as it stands.
    ///
    /// # Panics
    ///
    /// When there is no such job.
    pub fn job(&self, id: JobId) -> Job {
        self.shared.with(|state| state.public(&state.jobs.entries[&id.0]))
    }

    /// Every job there was, in the order of their ids.
    pub fn jobs(&self) -> Vec<Job> {
        self.shared.with(|state| state.jobs.entries.values().map(|job| state.public(job)).collect())
    }

    /// A workflow that `POST …/dispatches` begins a run of.
    pub fn workflow(&self, workflow: Workflow) {
        self.shared.with(|state| state.jobs.workflows.push(workflow));
    }
}
