//! Runners and jobs as they are written. Lists may be `null`, times that are not set are those of 1970 or of the year 1.

use fireactions_http::plain;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::{Conclusion, Job, JobId, JobStatus, Runner, RunnerId, RunnerStatus, Scope};

/// What is `null`, is what is not there.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A time that cannot be read is one that is not told: a job is more than its times.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    let time = text.and_then(|text| text.parse::<Timestamp>().ok());
    Ok(time.filter(|time| *time > Timestamp::UNIX_EPOCH))
}

/// A label is a word at Forgejo and an object at Gitea.
#[derive(Deserialize)]
#[serde(untagged)]
enum WireLabel {
    Word(String),
    Object { name: String },
}

/// A runner of either forge.
#[derive(Deserialize)]
pub(crate) struct WireRunner {
    id: RunnerId,
    #[serde(default)]
    uuid: Option<String>,
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default)]
    busy: bool,
    #[serde(default)]
    ephemeral: bool,
    #[serde(default, deserialize_with = "or_default")]
    labels: Vec<WireLabel>,
}

impl WireRunner {
    pub(crate) fn id(&self) -> u64 {
        self.id.get()
    }
}

impl From<WireRunner> for Runner {
    fn from(wire: WireRunner) -> Self {
        let busy = wire.busy || wire.status == "active";
        let status = match wire.status.as_str() {
            "online" if busy => RunnerStatus::Active,
            "online" | "idle" => RunnerStatus::Idle,
            "active" => RunnerStatus::Active,
            _ => RunnerStatus::Offline,
        };
        let name = |label| match label {
            WireLabel::Word(name) | WireLabel::Object { name } => crate::label_name(&name).to_owned(),
        };
        Self {
            id: wire.id,
            uuid: wire.uuid.filter(|uuid| !uuid.is_empty()),
            name: wire.name,
            status,
            busy,
            ephemeral: wire.ephemeral,
            labels: wire.labels.into_iter().map(name).collect(),
        }
    }
}

/// A job of a list of Gitea's, or of a delivery.
#[derive(Deserialize)]
pub(crate) struct GiteaJob {
    id: JobId,
    #[serde(default, deserialize_with = "or_default")]
    url: String,
    #[serde(default, deserialize_with = "or_default")]
    html_url: String,
    #[serde(default)]
    run_id: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    run_attempt: u64,
    #[serde(default)]
    head_branch: Option<String>,
    pub(crate) status: String,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    runner_id: Option<u64>,
    #[serde(default)]
    runner_name: Option<String>,
    #[serde(default, deserialize_with = "time")]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    started_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    completed_at: Option<Timestamp>,
}

fn told(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl GiteaJob {
    pub(crate) fn id(&self) -> u64 {
        self.id.get()
    }

    /// The repository, which only the job's address in the API tells.
    pub(crate) fn repository(&self) -> Option<String> {
        let (_, rest) = self.url.split_once("/api/v1/repos/")?;
        let mut parts = rest.split('/');
        let (owner, name) = (parts.next()?, parts.next()?);
        // What is no repository's name is of no use to anybody, and may be somebody's trick.
        Scope::repository(owner, name).is_ok().then(|| format!("{owner}/{name}"))
    }

    /// None when the status is a word that is not known.
    pub(crate) fn read(self, scope: &Scope) -> Option<Job> {
        let status = JobStatus::of_gitea(&self.status)?;
        Some(Job {
            id: self.id,
            scope: scope.clone(),
            handle: None,
            attempt: self.run_attempt,
            run_id: self.run_id.filter(|id| *id != 0),
            repository: self.repository(),
            repository_id: None,
            name: plain(&self.name),
            workflow: None,
            git_ref: told(self.head_branch).map(|branch| plain(&branch)),
            actor: None,
            runs_on: self.labels,
            status,
            conclusion: told(self.conclusion).map(|word| Conclusion::of(&word)),
            runner: self.runner_id.filter(|id| *id != 0).map(RunnerId::new),
            runner_name: told(self.runner_name),
            task: None,
            url: told(Some(self.html_url)),
            created_at: self.created_at,
            started_at: self.started_at,
            completed_at: self.completed_at,
        })
    }
}

/// A job of Forgejo's queue.
#[derive(Deserialize)]
pub(crate) struct ForgejoJob {
    id: JobId,
    #[serde(default)]
    attempt: u64,
    #[serde(default)]
    handle: Option<String>,
    #[serde(default)]
    repo_id: Option<u64>,
    #[serde(default)]
    run_id: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    runs_on: Vec<String>,
    #[serde(default)]
    task_id: Option<u64>,
    #[serde(default)]
    html_url: Option<String>,
    status: String,
}

impl ForgejoJob {
    pub(crate) fn id(&self) -> u64 {
        self.id.get()
    }

    /// None when the status is a word that is not known.
    pub(crate) fn read(self, scope: &Scope) -> Option<Job> {
        let (status, conclusion) = JobStatus::of_forgejo(&self.status)?;
        let repository = match scope {
            Scope::Repository { owner, name } => Some(format!("{owner}/{name}")),
            _ => None,
        };
        let set = |id: Option<u64>| id.filter(|id| *id != 0);
        Some(Job {
            id: self.id,
            scope: scope.clone(),
            handle: told(self.handle),
            attempt: self.attempt,
            run_id: set(self.run_id),
            name: plain(&self.name),
            workflow: None,
            repository,
            repository_id: set(self.repo_id),
            git_ref: None,
            actor: None,
            runs_on: self.runs_on,
            status,
            conclusion,
            runner: None,
            runner_name: None,
            task: set(self.task_id),
            url: told(self.html_url),
            created_at: None,
            started_at: None,
            completed_at: None,
        })
    }
}

/// What a runner has or had of a job.
#[derive(Deserialize)]
pub(crate) struct WireTask {
    pub(crate) id: u64,
    #[serde(default)]
    head_branch: Option<String>,
    pub(crate) status: String,
    #[serde(default)]
    workflow_id: Option<String>,
    /// The number of its run in the repository.
    #[serde(default)]
    pub(crate) run_number: Option<u64>,
    #[serde(default)]
    url: Option<String>,
}

impl WireTask {
    /// Puts what it tells into its job.
    pub(crate) fn tell(self, job: &mut Job) {
        if let Some((status, conclusion)) = JobStatus::of_forgejo(&self.status) {
            job.status = status;
            job.conclusion = conclusion;
        }
        job.workflow = told(self.workflow_id).or(job.workflow.take());
        job.git_ref = told(self.head_branch).map(|branch| plain(&branch)).or(job.git_ref.take());
        job.url = told(self.url).or(job.url.take());
    }
}

/// A run, of either forge.
#[derive(Deserialize)]
pub(crate) struct WireRun {
    /// Gitea: `ci.yml@refs/heads/main`.
    #[serde(default)]
    path: Option<String>,
    /// Forgejo: `ci.yml`.
    #[serde(default)]
    workflow_id: Option<String>,
    #[serde(default)]
    head_branch: Option<String>,
    #[serde(default)]
    prettyref: Option<String>,
    #[serde(default)]
    actor: Option<User>,
    #[serde(default)]
    trigger_user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    login: String,
}

impl WireRun {
    /// Puts what it tells into one of its jobs.
    pub(crate) fn tell(self, job: &mut Job) {
        let path = self.path.map(|path| path.split('@').next().unwrap_or_default().to_owned());
        job.workflow = told(path).or(told(self.workflow_id)).or(job.workflow.take());
        let branch = told(self.head_branch).or(told(self.prettyref)).map(|branch| plain(&branch));
        job.git_ref = job.git_ref.take().or(branch);
        let user = self.actor.or(self.trigger_user);
        job.actor = told(user.map(|user| plain(&user.login))).or(job.actor.take());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_runner_of_each() {
        let read = |wire| Runner::from(serde_json::from_value::<WireRunner>(wire).unwrap());
        let gitea = read(json!({
            "id": 1, "name": "a", "status": "online", "busy": true, "disabled": false, "ephemeral": true,
            "labels": [{"id": 0, "name": "ubuntu-24.04:host", "type": "custom"}],
        }));
        assert_eq!((gitea.status, gitea.busy, gitea.uuid), (RunnerStatus::Active, true, None));
        assert_eq!(gitea.labels, ["ubuntu-24.04"]);
        let forgejo = read(json!({
            "id": 5, "uuid": "u", "owner_id": 3, "repo_id": 0, "name": "b", "status": "offline", "version": "",
            "labels": null, "description": "", "ephemeral": true,
        }));
        assert_eq!(
            (forgejo.status, forgejo.busy, forgejo.uuid.as_deref()),
            (RunnerStatus::Offline, false, Some("u"))
        );
        assert!(forgejo.labels.is_empty());
        let active = read(json!({"id": 5, "name": "b", "status": "active", "labels": ["x"]}));
        assert_eq!((active.status, active.busy), (RunnerStatus::Active, true));
        assert_eq!(read(json!({"id": 5, "name": "b", "status": "idle"})).status, RunnerStatus::Idle);
        assert_eq!(read(json!({"id": 5, "name": "b", "status": "dreaming"})).status, RunnerStatus::Offline);
    }

    #[test]
    fn times_that_are_not_set_are_not_told() {
        #[derive(Deserialize)]
        struct At {
            #[serde(default, deserialize_with = "time")]
            at: Option<Timestamp>,
        }
        let at = |value| serde_json::from_value::<At>(value).unwrap().at.map(|at| at.to_string());
        for none in [
            json!({}),
            json!({"at": null}),
            json!({"at": "1970-01-01T00:00:00Z"}),
            json!({"at": "0001-01-01T00:00:00Z"}),
        ] {
            assert_eq!(at(none), None);
        }
        assert_eq!(at(json!({"at": "1970-01-01T01:00:00+01:00"})), None, "the same in another zone");
        assert_eq!(at(json!({"at": "soon"})), None);
        assert_eq!(at(json!({"at": "2026-11-29T01:55:17+01:00"})).as_deref(), Some("2026-11-29T00:55:17Z"));
    }

    #[test]
    fn the_repository_of_a_job() {
        let of = |url: &str| {
            let job: GiteaJob =
                serde_json::from_value(json!({"id": 1, "status": "queued", "url": url})).unwrap();
            job.repository()
        };
        assert_eq!(of("https://host/git/api/v1/repos/Acme/app/actions/jobs/1").as_deref(), Some("Acme/app"));
        for none in
            ["", "https://host/api/v1/repos/acme", "https://host/api/v1/repos/../x/actions", "acme/app"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn statuses_of_each() {
        let gitea = |status: &str| {
            let job: GiteaJob =
                serde_json::from_value(json!({"id": 1, "status": status, "runner_id": 0})).unwrap();
            job.read(&Scope::Instance).map(|job| (job.status, job.runner))
        };
        assert_eq!(gitea("queued"), Some((JobStatus::Waiting, None)));
        assert_eq!(gitea("waiting"), Some((JobStatus::Blocked, None)));
        assert_eq!(gitea("dreaming"), None);
        let forgejo = |status: &str| {
            let job: ForgejoJob =
                serde_json::from_value(json!({"id": 1, "status": status, "runs_on": null})).unwrap();
            job.read(&Scope::Instance).map(|job| (job.status, job.conclusion))
        };
        assert_eq!(forgejo("waiting"), Some((JobStatus::Waiting, None)));
        assert_eq!(forgejo("running"), Some((JobStatus::Running, None)));
        assert_eq!(forgejo("cancelled"), Some((JobStatus::Done, Some(Conclusion::Cancelled))));
        assert_eq!(forgejo("unknown"), None);
    }
}
