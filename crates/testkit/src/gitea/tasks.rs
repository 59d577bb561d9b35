//! Tasks: given to a runner, told of, ended.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::http::random;

use super::known::jobs::{Entry, JobStatus, Task};
use super::known::runners::RunnerFate;
use super::state::State;

/// How a task ended, by the number in its name.
pub(super) fn result(name: &str) -> Option<JobStatus> {
    Some(match name {
        "RESULT_SUCCESS" => JobStatus::Success,
        "RESULT_FAILURE" => JobStatus::Failure,
        "RESULT_CANCELLED" => JobStatus::Cancelled,
        "RESULT_SKIPPED" => JobStatus::Skipped,
        _ => return None,
    })
}

/// The name of a result, where there is one.
pub(super) fn result_name(status: JobStatus) -> Option<&'static str> {
    Some(match status {
        JobStatus::Success => "RESULT_SUCCESS",
        JobStatus::Failure => "RESULT_FAILURE",
        JobStatus::Cancelled => "RESULT_CANCELLED",
        JobStatus::Skipped => "RESULT_SKIPPED",
        JobStatus::Blocked | JobStatus::Waiting | JobStatus::Running => return None,
    })
}

/// What a runner tells of its task.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) result: Option<JobStatus>,
    pub(super) stopped: Option<Timestamp>,
    /// Of steps by their numbers, when each began and ended.
    pub(super) steps: BTreeMap<usize, (Option<Timestamp>, Option<Timestamp>)>,
    pub(super) outputs: BTreeMap<String, String>,
}

impl State {
    /// The job that a runner gets next: the one with this handle, else the one that waits longest.
    pub(super) fn pick(&mut self, runner: u64, handle: Option<&str>, key: Option<&str>) -> Option<u64> {
        let entry = self.runners.get(runner)?;
        if entry.public.disabled || (entry.public.ephemeral && entry.public.task.is_some()) {
            return None;
        }
        let fits = |job: &&Entry| {
            job.status == JobStatus::Waiting
                && self.accounts.serves(entry.owner, job.repository)
                && self.runs(&entry.public.labels, &job.request.runs_on)
                && handle.is_none_or(|handle| job.handle == handle)
        };
        let found = self.jobs.entries.values().filter(fits).min_by_key(|job| (job.queued, job.id))?.id;
        Some(self.give(found, runner, key))
    }

    /// Whether a runner with these labels runs a job that asks for those. Case counts.
    fn runs(&self, labels: &[String], asked: &[String]) -> bool {
        (self.release.is_gitea() || !asked.is_empty()) && asked.iter().all(|label| labels.contains(label))
    }

    fn give(&mut self, job: u64, runner: u64, key: Option<&str>) -> u64 {
        let id = self.jobs.tasks.keys().next_back().map_or(1, |last| last + 1);
        let now = self.now();
        let entry = self.runners.entries.get_mut(&runner).expect("runners stay");
        entry.public.task = Some(id);
        let runner_name = entry.public.name.clone();
        let job = self.jobs.entry(job);
        job.status = JobStatus::Running;
        job.started = Some(now);
        job.task = Some(id);
        job.given += 1;
        let (job, steps) = (job.id, vec![(None, None); job.request.steps.len()]);
        let task = Task {
            id,
            job,
            ended: None,
            started: now,
            runner,
            runner_name,
            token: task_token(),
            key: key.map(ToOwned::to_owned),
            updated: now,
            steps,
            log: Vec::new(),
            log_is_whole: false,
            outputs: BTreeMap::new(),
        };
        self.jobs.tasks.insert(id, task);
        self.tell_hooks(job);
        self.touch();
        id
    }

    /// The task that this runner got by a request of this key.
    pub(super) fn given_before(&mut self, runner: u64, key: &str) -> Option<u64> {
        let is_it = |task: &&mut Task| task.runner == runner && task.key.as_deref() == Some(key);
        let task = self.jobs.tasks.values_mut().find(is_it)?;
        task.token = task_token();
        Some(task.id)
    }

    /// A runner tells of its task; gives how the task stands now and which outputs are known.
    pub(super) fn told(&mut self, task: u64, told: Told) -> (JobStatus, Vec<String>) {
        let now = self.now();
        let (job, status) = {
            let known = &self.jobs.tasks[&task];
            (known.job, known.ended.map_or(self.jobs.entries[&known.job].status, |(status, _)| status))
        };
        let known = self.jobs.task(task);
        if !status.is_done() {
            known.updated = now;
            for (at, (started, stopped)) in told.steps {
                if let Some(step) = known.steps.get_mut(at) {
                    *step = (started, stopped);
                }
            }
        }
        for (name, value) in told.outputs {
            known.outputs.entry(name).or_insert(value);
        }
        let outputs = known.outputs.keys().cloned().collect();
        if let Some(result) = told.result.filter(|_| !status.is_done()) {
            self.end_job(job, result, RunnerFate::Used, told.stopped);
        }
        self.touch();
        let known = &self.jobs.tasks[&task];
        (known.ended.map_or(self.jobs.entries[&job].status, |(status, _)| status), outputs)
    }

    /// Rows of a task's log, from this index on; gives how many are known. None when the log was closed before.
    pub(super) fn logged(
        &mut self,
        task: u64,
        index: usize,
        rows: Vec<(Timestamp, String)>,
        is_whole: bool,
    ) -> Option<usize> {
        let task = self.jobs.task(task);
        let known = task.log.len();
        let fits = index <= known && index + rows.len() > known;
        if fits && task.log_is_whole {
            return None;
        }
        if fits {
            task.log.extend(rows.into_iter().skip(known - index));
        }
        // A gap is no end, whatever the runner says.
        task.log_is_whole |= is_whole && index <= known;
        let known = task.log.len();
        self.touch();
        Some(known)
    }
}

fn task_token() -> String {
    crate::kept::hex(random(20).as_bytes())
}
