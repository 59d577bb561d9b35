//! Jobs, runs and what they belong to, as Gitea writes them.

use serde_json::{Map, Value, json};

use super::known::accounts::{Account, Repository};
use super::known::jobs::{Entry, JobStatus, Run, Task};
use super::state::{State, written};

impl State {
    /// `…/api/v1/repos/OWNER/NAME`.
    pub(super) fn api_of(&self, repository: u64) -> String {
        format!("{}/api/v1/repos/{}", self.root(), self.accounts.full_name(repository))
    }

    /// The page of a repository.
    pub(super) fn page_of(&self, repository: u64) -> String {
        format!("{}/{}", self.root(), self.accounts.full_name(repository))
    }

    /// A job of `…/actions/jobs` and of `workflow_job`.
    pub(super) fn gitea_job(&self, job: &Entry) -> Value {
        let run = &self.jobs.runs[&job.run];
        let (api, page) = (self.api_of(job.repository), self.page_of(job.repository));
        let task = self.jobs.task_of(job);
        // The steps' own states are not told: each has its job's.
        let steps = task.iter().flat_map(|task| task.steps.iter().enumerate()).map(|(at, (began, ended))| {
            let (name, run) = &job.request.steps[at];
            let mut step = json!({
                "name": if name.is_empty() { run } else { name },
                "number": at,
                "started_at": written(*began),
                "completed_at": written(*ended),
            });
            state_into(&mut step, job.status);
            step
        });
        let mut object = json!({
            "id": job.id,
            "url": format!("{api}/actions/jobs/{}", job.id),
            "html_url": format!("{page}/actions/runs/{}/jobs/{}", run.id, job.id),
            "run_id": run.id,
            "run_url": format!("{api}/actions/runs/{}", run.id),
            "name": job.request.name,
            "labels": job.request.runs_on,
            "run_attempt": job.given,
            "head_sha": run.workflow.sha,
            "head_branch": "main",
            "steps": steps.collect::<Vec<_>>(),
            "created_at": written(Some(job.created)),
            "started_at": written(job.started),
            "completed_at": written(job.stopped),
        });
        state_into(&mut object, job.status);
        if let Some(task) = task {
            object["runner_id"] = task.runner.into();
            object["runner_name"] = task.runner_name.as_str().into();
        }
        if !self.release.lists_jobs() {
            object["url"] = format!("{api}/actions/runs/{}/jobs/{}", run.id, job.id).into();
        }
        object
    }

    /// A run of `…/actions/runs`.
    pub(super) fn gitea_run(&self, run: &Run) -> Value {
        let (api, page) = (self.api_of(run.repository), self.page_of(run.repository));
        let jobs = || run.jobs.iter().map(|id| &self.jobs.entries[id]);
        let status = self.jobs.status(run);
        let stopped = jobs().filter_map(|job| job.stopped).max().filter(|_| status.is_done());
        let actor = self.user(self.accounts.account(run.actor));
        let mut object = json!({
            "id": run.id,
            "url": format!("{api}/actions/runs/{}", run.id),
            "html_url": format!("{page}/actions/runs/{}", run.id),
            "display_title": run.workflow.title,
            "path": format!("{}@refs/heads/main", run.workflow.file),
            "event": run.workflow.event,
            "run_attempt": 0,
            "run_number": run.number,
            "head_sha": run.workflow.sha,
            "head_branch": "main",
            "actor": actor,
            "trigger_actor": actor,
            "repository": self.repository(self.accounts.repository(run.repository)),
            "started_at": written(jobs().filter_map(|job| job.started).min()),
            "completed_at": written(stopped),
        });
        state_into(&mut object, status);
        object
    }

    /// A task of `…/actions/tasks`, which knows only jobs that a runner has got.
    pub(super) fn task_entry(&self, task: &Task) -> Value {
        let job = &self.jobs.entries[&task.job];
        let run = &self.jobs.runs[&job.run];
        let status = task.ended.map_or(job.status, |(status, _)| status);
        let updated = task.ended.map_or(task.started, |(_, stopped)| stopped);
        json!({
            "id": task.id,
            "name": job.request.name,
            "head_branch": "main",
            "head_sha": run.workflow.sha,
            "run_number": run.number,
            "event": run.workflow.event,
            "display_title": run.workflow.title,
            "status": status.word(),
            "workflow_id": run.workflow.file,
            "url": format!("{}/actions/runs/{}", self.page_of(run.repository), run.number),
            "created_at": written(Some(job.created)),
            "updated_at": written(Some(updated)),
            "run_started_at": written(Some(task.started)),
        })
    }

    /// A user as others see them.
    pub(super) fn user(&self, user: &Account) -> Value {
        let mut object = json!({
            "id": user.id,
            "login": user.name,
            "login_name": "",
            "source_id": 0,
            "full_name": "",
            "email": format!("{}+{}@noreply.127.0.0.1", user.id, user.name),
            "avatar_url": format!("{}/avatars/{:032x}", self.root(), user.id),
            "html_url": format!("{}/{}", self.root(), user.name),
            "language": "",
            "is_admin": false,
            "last_login": "0001-01-01T00:00:00Z",
            "created": written(Some(user.created)),
            "restricted": false,
            "active": false,
            "prohibit_login": false,
            "location": "",
            "website": "",
            "description": "",
            "visibility": "public",
            "followers_count": 0,
            "following_count": 0,
            "starred_repos_count": 0,
            "username": user.name,
        });
        if !self.release.is_gitea() {
            object["pronouns"] = "".into();
        }
        object
    }

    /// An organization.
    pub(super) fn organization(&self, organization: &Account) -> Value {
        json!({
            "id": organization.id,
            "name": organization.name,
            "full_name": "",
            "email": "",
            "avatar_url": format!("{}/avatars/{:032x}", self.root(), organization.id),
            "description": "",
            "website": "",
            "location": "",
            "visibility": "public",
            "repo_admin_change_team_access": false,
            "username": organization.name,
        })
    }

    /// A repository. Of Forgejo the last fields were not recorded: those of the Gitea that it comes from.
    pub(super) fn repository(&self, repository: &Repository) -> Value {
        let owner = self.user(self.accounts.account(repository.owner));
        let (full, page) = (self.accounts.full_name(repository.id), self.page_of(repository.id));
        let api = self.api_of(repository.id);
        let created = written(Some(repository.created));
        let mut object = Map::new();
        let mut put = |all: Value| object.extend(all.as_object().cloned().unwrap_or_default());
        put(json!({
            "id": repository.id, "owner": owner, "name": repository.name, "full_name": full,
            "description": "", "empty": false, "private": false, "fork": false, "template": false,
            "mirror": false, "size": 25, "language": "", "languages_url": format!("{api}/languages"),
            "html_url": page, "url": api, "link": "", "ssh_url": format!("git@127.0.0.1:{full}.git"),
            "clone_url": format!("{page}.git"), "original_url": "", "website": "", "stars_count": 0,
            "forks_count": 0, "watchers_count": 1, "open_issues_count": 0, "open_pr_counter": 0,
            "release_counter": 0, "default_branch": "main", "archived": false, "created_at": created,
            "updated_at": created, "archived_at": "1970-01-01T00:00:00Z",
            "permissions": {"admin": true, "push": true, "pull": true},
        }));
        put(json!({
            "has_code": true, "has_issues": true, "internal_tracker": {"enable_time_tracker": true,
                "allow_only_contributors_to_track_time": true, "enable_issue_dependencies": true},
            "has_wiki": true, "has_pull_requests": true, "has_projects": true, "projects_mode": "all",
            "has_releases": true, "has_packages": true, "has_actions": true,
            "ignore_whitespace_conflicts": false, "allow_merge_commits": true, "allow_rebase": true,
            "allow_rebase_explicit": true, "allow_squash_merge": true, "allow_fast_forward_only_merge": true,
            "allow_rebase_update": true, "allow_manual_merge": false, "autodetect_manual_merge": false,
            "default_delete_branch_after_merge": false, "default_merge_style": "merge",
            "default_allow_maintainer_edit": false, "default_target_branch": "", "avatar_url": "",
            "internal": false, "mirror_interval": "", "object_format_name": "sha1",
            "mirror_updated": "0001-01-01T00:00:00Z", "topics": [], "licenses": [],
        }));
        Value::Object(object)
    }
}

fn state_into(object: &mut Value, status: JobStatus) {
    let (status, conclusion) = status.words();
    object["status"] = status.into();
    if let Some(conclusion) = conclusion {
        object["conclusion"] = conclusion.into();
    }
}
