//! Runs, their jobs, and the tasks that runners get of them.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// A job's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Another job of its run has to end first.
    Blocked,
    /// It waits for a runner.
    Waiting,
    /// A runner has it.
    Running,
    /// It ended well.
    Success,
    /// It ended badly.
    Failure,
    /// It was cancelled.
    Cancelled,
    /// It did not have to run.
    Skipped,
}

impl JobStatus {
    /// Whether nothing becomes of it any more.
    pub fn is_done(self) -> bool {
        !matches!(self, Self::Blocked | Self::Waiting | Self::Running)
    }

    /// Gitea's two words for it: how far it is, and how it ended.
    pub(in super::super) fn words(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Blocked => ("waiting", None),
            Self::Waiting => ("queued", None),
            Self::Running => ("in_progress", None),
            Self::Success => ("completed", Some("success")),
            Self::Failure => ("completed", Some("failure")),
            Self::Cancelled => ("completed", Some("cancelled")),
            Self::Skipped => ("completed", Some("skipped")),
        }
    }

    /// The word of Forgejo, of both forges' pages, and of `…/actions/tasks`.
    pub(in super::super) fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Waiting => "waiting",
            Self::Running => "running",
            _ => self.words().1.unwrap_or_default(),
        }
    }
}

/// A job that a run is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// Its name.
    pub name: String,
    /// The labels that it asks for.
    pub runs_on: Vec<String>,
    /// Names of jobs of the same run that have to succeed first.
    pub needs: Vec<String>,
    /// Its steps: a name, which may be empty, and a script each.
    pub steps: Vec<(String, String)>,
}

impl JobRequest {
    /// One with one step that greets.
    pub fn new(name: &str, runs_on: &[&str]) -> Self {
        let runs_on = runs_on.iter().map(|&label| label.into()).collect();
        Self { name: name.into(), runs_on, needs: Vec::new(), steps: Vec::new() }
            .step("hello", "echo hello world")
    }

    /// With these steps alone.
    #[must_use]
    pub fn steps(mut self, steps: &[(&str, &str)]) -> Self {
        self.steps = steps.iter().map(|&(name, run)| (name.into(), run.into())).collect();
        self
    }

    /// Not before this one of the same run.
    #[must_use]
    pub fn needs(mut self, name: &str) -> Self {
        self.needs.push(name.into());
        self
    }

    fn step(mut self, name: &str, run: &str) -> Self {
        self.steps.push((name.into(), run.into()));
        self
    }
}

/// What makes a run: the jobs of one file, and what began it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// `owner/name`.
    pub repository: String,
    /// The file's name, such as `ci.yml`.
    pub file: String,
    /// What the list of runs calls it.
    pub title: String,
    /// `push` or `workflow_dispatch`.
    pub event: String,
    /// The commit.
    pub sha: String,
    /// In the file's order.
    pub jobs: Vec<JobRequest>,
}

impl Workflow {
    /// A push to the default branch.
    pub fn push(repository: &str, jobs: Vec<JobRequest>) -> Self {
        Self {
            repository: repository.into(),
            file: "ci.yml".into(),
            title: "add".into(),
            event: "push".into(),
            sha: "0724c22c92c1bf9ff3696425921dcc94ac1d690d".into(),
            jobs,
        }
    }
}

/// A job and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its run's id.
    pub run: u64,
    /// `owner/name`.
    pub repository: String,
    /// Its name.
    pub name: String,
    /// How far it is.
    pub status: JobStatus,
    /// What it is asked for by on Forgejo >= 15.
    pub handle: String,
    /// The runner that had it last.
    pub runner: Option<u64>,
    /// That one's name.
    pub runner_name: Option<String>,
    /// What the runner sent of its log.
    pub log: Vec<String>,
    /// Whether the runner said that this is all of it.
    pub log_is_whole: bool,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Run {
    pub(in super::super) id: u64,
    pub(in super::super) repository: u64,
    /// Counts in the repository.
    pub(in super::super) number: u64,
    pub(in super::super) workflow: Workflow,
    pub(in super::super) actor: u64,
    pub(in super::super) jobs: Vec<u64>,
    pub(in super::super) created: Timestamp,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Entry {
    pub(in super::super) id: u64,
    pub(in super::super) run: u64,
    pub(in super::super) repository: u64,
    pub(in super::super) request: JobRequest,
    pub(in super::super) status: JobStatus,
    pub(in super::super) handle: String,
    /// How often it was run again.
    pub(in super::super) reruns: u64,
    /// How often a runner was given it.
    pub(in super::super) given: u64,
    /// The one that it has now, or had last; none once it is to run again.
    pub(in super::super) task: Option<u64>,
    pub(in super::super) created: Timestamp,
    /// Since when it waits; the order in which jobs are given away.
    pub(in super::super) queued: Timestamp,
    pub(in super::super) started: Option<Timestamp>,
    pub(in super::super) stopped: Option<Timestamp>,
}

/// A job in a runner's hands.
#[derive(Debug, Clone)]
pub(in super::super) struct Task {
    pub(in super::super) id: u64,
    pub(in super::super) job: u64,
    /// How it ended, which stays when its job is run again, and when.
    pub(in super::super) ended: Option<(JobStatus, Timestamp)>,
    pub(in super::super) started: Timestamp,
    pub(in super::super) runner: u64,
    pub(in super::super) runner_name: String,
    pub(in super::super) token: String,
    /// What the request that got it was known by.
    pub(in super::super) key: Option<String>,
    /// When the runner told of it last.
    pub(in super::super) updated: Timestamp,
    /// When each step began and ended.
    pub(in super::super) steps: Vec<(Option<Timestamp>, Option<Timestamp>)>,
    pub(in super::super) log: Vec<(Timestamp, String)>,
    pub(in super::super) log_is_whole: bool,
    pub(in super::super) outputs: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Jobs {
    pub(in super::super) runs: BTreeMap<u64, Run>,
    pub(in super::super) entries: BTreeMap<u64, Entry>,
    pub(in super::super) tasks: BTreeMap<u64, Task>,
    /// What can be dispatched.
    pub(in super::super) workflows: Vec<Workflow>,
}

impl Jobs {
    pub(in super::super) fn task_of(&self, job: &Entry) -> Option<&Task> {
        job.task.map(|id| &self.tasks[&id])
    }

    pub(in super::super) fn entry(&mut self, id: u64) -> &mut Entry {
        self.entries.get_mut(&id).expect("jobs stay")
    }

    pub(in super::super) fn task(&mut self, id: u64) -> &mut Task {
        self.tasks.get_mut(&id).expect("tasks stay")
    }

    /// How far a run is, by its jobs.
    pub(in super::super) fn status(&self, run: &Run) -> JobStatus {
        let all: Vec<JobStatus> = run.jobs.iter().map(|id| self.entries[id].status).collect();
        let any = |status| all.contains(&status);
        if all.iter().all(|&status| matches!(status, JobStatus::Success | JobStatus::Skipped)) {
            return if any(JobStatus::Success) { JobStatus::Success } else { JobStatus::Skipped };
        }
        let order = [JobStatus::Cancelled, JobStatus::Running, JobStatus::Waiting, JobStatus::Failure];
        order.into_iter().find(|&status| any(status)).unwrap_or(JobStatus::Blocked)
    }
}
