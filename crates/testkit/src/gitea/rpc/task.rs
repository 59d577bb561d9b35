//! A task as a runner gets it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::known::jobs::{Entry, Run, Task};
use super::super::state::State;
use super::super::tasks::result_name;
use super::super::yaml;
use super::message::compact;

impl State {
    pub(super) fn task_message(&self, task: &Task) -> Value {
        let job = &self.jobs.entries[&task.job];
        let run = &self.jobs.runs[&job.run];
        let payload = yaml::of_job(&run.workflow, &job.request);
        let mut secrets = json!({"GITEA_TOKEN": task.token, "GITHUB_TOKEN": task.token});
        if !self.release.is_gitea() {
            secrets["FORGEJO_TOKEN"] = task.token.as_str().into();
        }
        let mut message = compact(json!({
            "id": task.id.to_string(),
            "workflowPayload": STANDARD.encode(payload),
            "secrets": secrets,
            "needs": self.needs(job),
        }));
        // Empty strings stay in there: it is not a message but a structure of its own.
        message["context"] = self.context(job, run, task);
        message
    }

    /// How the jobs ended that this one needed.
    fn needs(&self, job: &Entry) -> Value {
        let need = |needed: &Entry| {
            let outputs = self.jobs.task_of(needed).map(|task| task.outputs.clone()).unwrap_or_default();
            let need = compact(json!({"outputs": outputs, "result": result_name(needed.status)}));
            (yaml::key(&needed.request), need)
        };
        Value::Object(self.needed(job).map(need).collect())
    }

    fn context(&self, job: &Entry, run: &Run, task: &Task) -> Value {
        let full = self.accounts.full_name(run.repository);
        let (owner, _) = full.split_once('/').unwrap_or_default();
        let empty = [
            "action",
            "action_path",
            "action_ref",
            "action_repository",
            "action_status",
            "base_ref",
            "env",
            "event_path",
            "graphql_url",
            "head_ref",
            "path",
            "retention_days",
            "triggering_actor",
            "workspace",
        ];
        let mut context: Map<String, Value> =
            empty.iter().map(|&name| (name.to_owned(), Value::from(""))).collect();
        let mut put = |all: Value| context.extend(all.as_object().cloned().unwrap_or_default());
        put(json!({
            "actor": self.accounts.account(run.actor).name,
            "api_url": format!("{}/api/v1", self.root()),
            "event": self.event(run),
            "event_name": run.workflow.event,
            "gitea_default_actions_url": "https://github.com",
            "gitea_runtime_token": format!("{}.runtime", task.token),
            "job": yaml::key(&job.request),
            "ref": "refs/heads/main",
            "ref_name": "main",
            "ref_protected": false,
            "ref_type": "branch",
            "repository": full,
            "repositoryUrl": self.page_of(run.repository),
            "repository_owner": owner,
            "run_attempt": "1",
            "run_id": run.id.to_string(),
            "run_number": run.number.to_string(),
            "secret_source": "Actions",
            "server_url": format!("{}/", self.root()),
            "sha": run.workflow.sha,
            "token": task.token,
            "workflow": run.workflow.file,
        }));
        if !self.release.is_gitea() {
            put(json!({
                "forgejo_server_version": self.release.version(),
                "gitea_default_actions_url": "https://data.forgejo.org",
                "job_name": "",
                "runner_perflog": "",
                "runner_tracking_id": "",
                "workflow_ref": format!("{full}/.forgejo/workflows/{}@refs/heads/main", run.workflow.file),
            }));
        }
        Value::Object(context)
    }

    /// What began the run, as its webhook would tell it.
    fn event(&self, run: &Run) -> Value {
        let repository = self.repository(self.accounts.repository(run.repository));
        let sender = self.user(self.accounts.account(run.actor));
        if run.workflow.event != "push" {
            return json!({"inputs": {}, "ref": "refs/heads/main", "repository": repository,
                "sender": sender, "workflow": run.workflow.file});
        }
        let commit = json!({"id": run.workflow.sha, "message": run.workflow.title, "url": ""});
        json!({
            "after": run.workflow.sha,
            "before": "0000000000000000000000000000000000000000",
            "commits": [commit],
            "compare_url": "",
            "head_commit": commit,
            "pusher": sender,
            "ref": "refs/heads/main",
            "repository": repository,
            "sender": sender,
            "total_commits": 1,
        })
    }
}
