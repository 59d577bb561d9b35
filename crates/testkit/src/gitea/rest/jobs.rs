//! Jobs and runs, as lists and one by one.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::http::{Ask, Reply};

use super::super::known::accounts::Owner;
use super::super::known::jobs::{Entry, JobStatus, Run, Task, Workflow};
use super::super::reply;
use super::super::state::State;

/// Gitea's `…/actions/jobs` and `…/runs/{run}/jobs`: the oldest first.
pub(super) fn list(state: &State, ask: &Ask, owner: Owner, run: Option<u64>) -> Reply {
    let wanted = match statuses(state, ask) {
        Ok(wanted) => wanted,
        Err(refused) => return refused,
    };
    let fits = |job: &&Entry| {
        state.accounts.serves(owner, job.repository)
            && run.is_none_or(|run| job.run == run)
            && (wanted.is_empty() || wanted.contains(&job.status))
    };
    let found: Vec<&Entry> = state.jobs.entries.values().filter(fits).collect();
    let (page, total) = (state.page(ask), found.len());
    let shown: Vec<Value> = page.cut(found).into_iter().map(|job| state.gitea_job(job)).collect();
    state.paged(ask, page, total, &json!({"jobs": shown, "total_count": total}))
}

/// The statuses that are asked for, by Gitea's words; none is all.
fn statuses(state: &State, ask: &Ask) -> Result<Vec<JobStatus>, Reply> {
    use JobStatus::{Blocked, Cancelled, Failure, Running, Skipped, Success, Waiting};
    let mut wanted = Vec::new();
    for (_, word) in ask.query.iter().filter(|(name, _)| name == "status") {
        wanted.extend_from_slice(match word.as_str() {
            "pending" | "waiting" | "requested" | "action_required" => &[Blocked],
            "queued" => &[Waiting],
            "in_progress" => &[Running],
            "completed" => &[Success, Failure, Skipped, Cancelled],
            "failure" => &[Failure],
            "success" => &[Success],
            "skipped" | "neutral" => &[Skipped],
            "cancelled" | "timed_out" => &[Cancelled],
            _ => return Err(state.refusal(400, &format!("Invalid status {word}"))),
        });
    }
    Ok(wanted)
}

/// Forgejo's `…/actions/runners/jobs`: waiting and running, the newest first, `null` when there are none.
pub(super) fn queue(state: &State, ask: &Ask, owner: Owner) -> Reply {
    let labels: Option<Vec<&str>> = match ask.param("labels") {
        None if state.release.lists_unlabelled() => None,
        given => Some(given.unwrap_or_default().split(',').map(str::trim).collect()),
    };
    let fits = |job: &&Entry| {
        let asked = &job.request.runs_on;
        matches!(job.status, JobStatus::Waiting | JobStatus::Running)
            && state.accounts.serves(owner, job.repository)
            && labels.as_ref().is_none_or(|labels| {
                // Before 14 a job that asks for no label is no runner's.
                (state.release.lists_unlabelled() || !asked.is_empty())
                    && asked.iter().all(|label| labels.contains(&label.as_str()))
            })
    };
    let found: Vec<Value> =
        state.jobs.entries.values().rev().filter(fits).map(|job| state.forgejo_job(job)).collect();
    let body = if found.is_empty() { Value::Null } else { Value::from(found) };
    reply::json(200, &body)
}

pub(super) fn one(state: &State, repository: u64, id: &str) -> Reply {
    match find(state, repository, id) {
        Ok(job) => reply::json(200, &state.gitea_job(job)),
        Err(refused) => refused,
    }
}

fn find<'a>(state: &'a State, repository: u64, id: &str) -> Result<&'a Entry, Reply> {
    let found = id.parse::<u64>().ok().and_then(|id| state.jobs.entries.get(&id));
    let missing = || state.refusal(404, "resource does not exist");
    found.filter(|job| job.repository == repository).ok_or_else(missing)
}

/// A job's log.
pub(super) fn log(state: &State, repository: u64, id: &str) -> Reply {
    let job = match find(state, repository, id) {
        Ok(job) => job,
        Err(refused) => return refused,
    };
    let Some(task) = state.jobs.task_of(job) else {
        return state.not_found("job is not started");
    };
    let mut text = String::new();
    for (time, line) in &task.log {
        let tenths = time.subsec_nanosecond() / 100;
        // A row is a line.
        let line = line.replace('\n', "\\n");
        let _ = writeln!(text, "{}.{tenths:07}Z {line}", time.strftime("%Y-%m-%dT%H:%M:%S"));
    }
    Reply::empty(200)
        .header("content-type", "text/plain; charset=utf-8")
        .header("access-control-expose-headers", "Content-Disposition")
        .header(
            "content-disposition",
            &format!("attachment; filename=\"{}-{}.log\"", job.request.name, job.id),
        )
        .with_body(text.into_bytes())
}

/// `…/actions/runs`: the newest first.
pub(super) fn runs(state: &State, ask: &Ask, owner: Owner) -> Reply {
    let mut found: Vec<&Run> =
        state.jobs.runs.values().rev().filter(|run| state.accounts.serves(owner, run.repository)).collect();
    if state.release.is_gitea() {
        let wanted = match statuses(state, ask) {
            Ok(wanted) => wanted,
            Err(refused) => return refused,
        };
        found.retain(|run| wanted.is_empty() || wanted.contains(&state.jobs.status(run)));
    } else {
        let word = |name| ask.query.iter().filter(move |(key, _)| key == name).map(|(_, word)| word.as_str());
        let number = ask.param("run_number").and_then(|number| number.parse().ok());
        found.retain(|run| {
            let status = state.jobs.status(run).word();
            number.is_none_or(|number: u64| run.number == number)
                && (word("status").next().is_none() || word("status").any(|word| word == status))
        });
    }
    let (page, total) = (state.page(ask), found.len());
    let shown: Vec<Value> = page.cut(found).into_iter().map(|run| state.run(run)).collect();
    let body = json!({"workflow_runs": shown, "total_count": total});
    if state.release.is_gitea() { state.paged(ask, page, total, &body) } else { reply::json(200, &body) }
}

pub(super) fn run(state: &State, repository: u64, id: &str) -> Reply {
    match find_run(state, repository, id) {
        Ok(run) => reply::json(200, &state.run(run)),
        Err(refused) => refused,
    }
}

pub(super) fn jobs_of_run(state: &State, ask: &Ask, repository: u64, id: &str) -> Reply {
    match find_run(state, repository, id).map(|run| run.id) {
        Ok(run) => list(state, ask, Owner { owner: 0, repository }, Some(run)),
        Err(refused) => refused,
    }
}

fn find_run<'a>(state: &'a State, repository: u64, id: &str) -> Result<&'a Run, Reply> {
    let found = id.parse::<u64>().ok().and_then(|id| state.jobs.runs.get(&id));
    let missing = || state.refusal(404, "resource does not exist");
    found.filter(|run| run.repository == repository).ok_or_else(missing)
}

/// `…/actions/tasks`: jobs that a runner has or had, the newest first.
pub(super) fn tasks(state: &State, ask: &Ask, repository: u64) -> Reply {
    let is_its = |task: &&Task| state.jobs.entries[&task.job].repository == repository;
    let found: Vec<&Task> = state.jobs.tasks.values().rev().filter(is_its).collect();
    let (page, total) = (state.page(ask), found.len());
    let shown: Vec<Value> = page.cut(found).into_iter().map(|task| state.task_entry(task)).collect();
    reply::json(200, &json!({"workflow_runs": shown, "total_count": total}))
}

/// `…/workflows/{file}/dispatches`.
pub(super) fn dispatch(state: &mut State, ask: &Ask, repository: u64, file: &str, actor: u64) -> Reply {
    let full = state.accounts.full_name(repository);
    let fits = |of: &&Workflow| of.repository == full && of.file == file;
    let Some(mut workflow) = state.jobs.workflows.iter().find(fits).cloned() else {
        return state.refusal(404, &format!("workflow \"{file}\" not found"));
    };
    if ask.json().is_none_or(|body| body["ref"].as_str().is_none_or(str::is_empty)) {
        return state.refusal(422, "[Ref]: Required");
    }
    workflow.event = "workflow_dispatch".into();
    state.begin(workflow, actor);
    Reply::empty(204)
}

impl State {
    fn run(&self, run: &Run) -> Value {
        if self.release.is_gitea() { self.gitea_run(run) } else { self.forgejo_run(run) }
    }
}
