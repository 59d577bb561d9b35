//! Jobs and runs as Forgejo writes them.

use serde_json::{Value, json};

use super::known::accounts::Owner;
use super::known::jobs::{Entry, JobStatus, Run};
use super::known::runners::Entry as Runner;
use super::runners::Presence;
use super::state::{State, written};

impl State {
    /// A job of `…/actions/runners/jobs`.
    pub(super) fn forgejo_job(&self, job: &Entry) -> Value {
        let owner = self.accounts.repository(job.repository).owner;
        let needs = Some(&job.request.needs).filter(|needs| !needs.is_empty());
        let task = job.task.filter(|_| job.status == JobStatus::Running);
        let mut object = json!({
            "id": job.id,
            "repo_id": job.repository,
            "owner_id": owner,
            "name": job.request.name,
            "needs": needs,
            "runs_on": job.request.runs_on,
            "task_id": task.unwrap_or(0),
            "status": job.status.word(),
        });
        if self.release.registers_by_rest() {
            object["attempt"] = (1 + job.reruns).into();
            object["handle"] = job.handle.as_str().into();
        }
        object
    }

    /// A run of `…/actions/runs`.
    pub(super) fn forgejo_run(&self, run: &Run) -> Value {
        let jobs = || run.jobs.iter().map(|id| &self.jobs.entries[id]);
        let status = self.jobs.status(run);
        let started = jobs().filter_map(|job| job.started).min();
        let stopped = jobs().filter_map(|job| job.stopped).max();
        let ended = stopped.filter(|_| status.is_done());
        let changed = [Some(run.created), started, stopped].into_iter().flatten().max();
        // What a person began has no event of its own there.
        let event = if run.workflow.event == "push" { "push" } else { "" };
        let mut object = json!({
            "id": run.id,
            "title": run.workflow.title,
            "repository": self.repository(self.accounts.repository(run.repository)),
            "workflow_id": run.workflow.file,
            "index_in_repo": run.number,
            "trigger_user": self.user(self.accounts.account(run.actor)),
            "ScheduleID": 0,
            "prettyref": "main",
            "is_ref_deleted": false,
            "commit_sha": run.workflow.sha,
            "is_fork_pull_request": false,
            "need_approval": false,
            "approved_by": 0,
            "event": event,
            "event_payload": json!({"ref": "refs/heads/main"}).to_string(),
            "trigger_event": run.workflow.event,
            "status": status.word(),
            "started": written(started),
            "stopped": written(ended),
            "created": written(Some(run.created)),
            "updated": written(changed),
            "html_url": format!("{}/actions/runs/{}", self.page_of(run.repository), run.number),
        });
        if let Some(started) = started {
            let took = ended.unwrap_or_else(|| self.now()).as_second() - started.as_second();
            if took > 0 {
                object["duration"] = (took * 1_000_000_000).into();
            }
        }
        object
    }

    /// A runner of `…/actions/runners`.
    pub(super) fn forgejo_runner(&self, runner: &Runner) -> Value {
        let Owner { owner, repository } = runner.owner;
        let labels = Some(&runner.public.labels).filter(|_| runner.labelled);
        let status = match self.presence(runner) {
            Presence::Offline => "offline",
            Presence::Idle => "idle",
            Presence::Active => "active",
        };
        json!({
            "id": runner.public.id,
            "uuid": runner.public.uuid,
            "owner_id": owner,
            "repo_id": repository,
            "name": runner.public.name,
            "status": status,
            "version": runner.public.version,
            "labels": labels,
            "description": runner.description,
            "ephemeral": runner.public.ephemeral,
        })
    }
}
