//! Jobs and runs as GitHub writes them, in answers and in webhooks.

use serde_json::{Value, json};

use super::known::accounts::Kind;
use super::known::jobs::{Entry, JobStatus, Shown};
use super::objects::{LONG_AGO, node};
use super::state::State;
use crate::http::wire;

const COMMIT: &str = "3484a3fb816e0859fd6e1cea078d76385ff50625";

impl State {
    /// A job, as the REST API and webhooks have it alike.
    pub(super) fn job_object(&self, job: &Entry) -> Value {
        self.shown_job(job, &job.public.shown())
    }

    /// The same where it is shown to be this far.
    pub(super) fn shown_job(&self, job: &Entry, shown: &Shown) -> Value {
        let repository = self.accounts.repository(job.repository);
        let full_name = self.accounts.full_name(repository);
        let (api, base, public) = (self.api(), &self.base, &job.public);
        let url = format!("{api}/repos/{full_name}");
        let id = public.id.0;
        let begun = !matches!(shown.status, JobStatus::Waiting | JobStatus::Queued);
        let taken = public.assignments.last().filter(|last| begun && last.picked_up_at.is_some());
        let completed_at = public.completed_at.filter(|_| shown.status == JobStatus::Completed).map(wire);
        let started_at = wire(public.started_at.filter(|_| begun).unwrap_or(public.queued_at));
        let runner = taken.and_then(|taken| self.runners.entries.get(&taken.runner_id));
        let group = runner.map(|runner| runner.public.group);
        let groups = runner.map(|runner| self.accounts.groups(runner.scope));
        let group_name = groups.zip(group).and_then(|(groups, group)| {
            groups.into_iter().find(|known| known.id == group).map(|known| known.name)
        });
        let steps = match shown.status {
            JobStatus::Waiting | JobStatus::Queued => json!([]),
            status => json!([{
                "name": "Run",
                "status": status.word(),
                "conclusion": shown.conclusion.as_deref(),
                "number": 1,
                "started_at": started_at,
                "completed_at": completed_at,
            }]),
        };
        json!({
            "id": id,
            "run_id": public.run_id,
            "run_url": format!("{url}/actions/runs/{}", public.run_id),
            "run_attempt": 1,
            "node_id": node("CheckRun", id),
            "head_sha": COMMIT,
            "head_branch": public.request.cause.branch,
            "url": format!("{url}/actions/jobs/{id}"),
            "html_url": format!("{base}/{full_name}/actions/runs/{}/job/{id}", public.run_id),
            "status": shown.status.word(),
            "conclusion": shown.conclusion,
            "created_at": wire(public.queued_at),
            "started_at": started_at,
            "completed_at": completed_at,
            "name": public.request.name,
            "steps": steps,
            "check_run_url": format!("{url}/check-runs/{id}"),
            "labels": public.request.labels,
            "runner_id": taken.map(|taken| taken.runner_id),
            "runner_name": taken.map(|taken| &taken.runner_name),
            "runner_group_id": group,
            "runner_group_name": group_name,
            "workflow_name": public.request.workflow,
        })
    }

    /// The status and conclusion of a run with these jobs.
    pub(super) fn run_status(jobs: &[(&Entry, &Shown)]) -> (&'static str, Option<&'static str>) {
        let all = |status| jobs.iter().all(|(_, shown)| shown.status == status);
        let ended = |how| jobs.iter().any(|(_, shown)| shown.conclusion.as_deref() == Some(how));
        if !all(JobStatus::Completed) {
            let whole = [JobStatus::Waiting, JobStatus::Queued].into_iter().find(|status| all(*status));
            return (whole.unwrap_or(JobStatus::InProgress).word(), None);
        }
        let worst = ["failure", "cancelled"].into_iter().find(|how| ended(how));
        ("completed", Some(worst.unwrap_or("success")))
    }

    /// A run with these jobs.
    pub(super) fn run_object(&self, id: u64, jobs: &[(&Entry, &Shown)]) -> Value {
        let (first, _) = jobs[0];
        let repository = self.accounts.repository(first.repository);
        let minimal = Value::Object(self.minimal_repository(repository));
        let full_name = self.accounts.full_name(repository);
        let api = format!("{}/repos/{full_name}", self.api());
        let url = format!("{api}/actions/runs/{id}");
        let cause = &first.public.request.cause;
        let called = |path: &String| json!({"path": path, "sha": COMMIT});
        let actor = self.simple_user(self.accounts.account(repository.owner));
        let (status, conclusion) = Self::run_status(jobs);
        json!({
            "id": id,
            "name": first.public.request.workflow,
            "node_id": node("WorkflowRun", id),
            "head_branch": cause.branch,
            "head_sha": COMMIT,
            "path": ".github/workflows/ci.yml",
            "display_title": "A change",
            "run_number": 1,
            "run_attempt": 1,
            "event": cause.event,
            "status": status,
            "conclusion": conclusion,
            "workflow_id": 1,
            "url": url,
            "html_url": format!("{}/{full_name}/actions/runs/{id}", self.base),
            "referenced_workflows": cause.called.iter().map(called).collect::<Vec<_>>(),
            "pull_requests": [],
            "created_at": wire(first.public.queued_at),
            "updated_at": wire(first.public.queued_at),
            "run_started_at": wire(first.public.queued_at),
            "actor": actor,
            "triggering_actor": actor,
            "jobs_url": format!("{url}/jobs"),
            "logs_url": format!("{url}/logs"),
            "check_suite_url": format!("{api}/check-suites/1"),
            "artifacts_url": format!("{url}/artifacts"),
            "cancel_url": format!("{url}/cancel"),
            "rerun_url": format!("{url}/rerun"),
            "previous_attempt_url": null,
            "workflow_url": format!("{api}/actions/workflows/1"),
            "head_commit": {
                "id": COMMIT,
                "tree_id": COMMIT,
                "message": "A change",
                "timestamp": LONG_AGO,
                "author": null,
                "committer": null,
            },
            "repository": minimal,
            "head_repository": minimal,
        })
    }

    /// The payload of `workflow_job`.
    pub(super) fn webhook_payload(&self, job: &Entry, action: &str) -> Value {
        let repository = self.accounts.repository(job.repository);
        let owner = self.accounts.account(repository.owner);
        let mut payload = json!({
            "action": action,
            "workflow_job": self.job_object(job),
            "repository": self.full_repository(repository),
            "sender": self.simple_user(owner),
        });
        if owner.kind == Kind::Organization {
            payload["organization"] = self.organization_object(owner);
        }
        if let Some(enterprise) = owner.enterprise {
            payload["enterprise"] = self.enterprise_object(self.accounts.account(enterprise));
        }
        let installed = self.apps.installations.iter().find(|one| one.account == owner.id);
        if let Some(installation) = installed {
            payload["installation"] =
                json!({"id": installation.id, "node_id": node("IntegrationInstallation", installation.id)});
        }
        payload
    }
}
