//! What caused a job: its run tells.

use reqwest::StatusCode;
use serde::Deserialize;

use super::job::scope_of;
use crate::caller::Call;
use crate::wire::{WireTask, or_default};
use crate::{Error, Gitea, Job, Kind, Origin, Scope};

/// A run, as far as it tells what caused it.
#[derive(Deserialize)]
struct WireCause {
    #[serde(default, deserialize_with = "or_default")]
    event: String,
    repository: WireRepository,
    /// Gitea: `ci.yml@refs/heads/main`.
    #[serde(default, deserialize_with = "or_default")]
    path: String,
    /// Forgejo: what of the workflow's `on` it was, where `event` is more special.
    #[serde(default, deserialize_with = "or_default")]
    trigger_event: String,
    /// Forgejo: the short name of a branch or tag, or `#7`.
    #[serde(default, deserialize_with = "or_default")]
    prettyref: String,
    /// Forgejo: what webhooks were told, in JSON.
    #[serde(default, deserialize_with = "or_default")]
    event_payload: String,
    /// Forgejo: the number of the run in its repository.
    #[serde(default)]
    index_in_repo: u64,
}

#[derive(Deserialize)]
struct WireRepository {
    id: u64,
    full_name: String,
    #[serde(default)]
    default_branch: String,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default, rename = "ref")]
    reference: String,
}

#[derive(Deserialize)]
struct Runs {
    #[serde(default, deserialize_with = "or_default")]
    workflow_runs: Vec<WireCause>,
}

impl WireCause {
    fn read(self, kind: Kind) -> Origin {
        let (event, reference) = match kind {
            Kind::Gitea => {
                let reference = gitea_ref(&self.event, &self.path).map(str::to_owned);
                (self.event, reference)
            }
            Kind::Forgejo => {
                let event = if self.trigger_event.is_empty() { self.event } else { self.trigger_event };
                let reference = forgejo_ref(&event, &self.prettyref, &self.event_payload);
                (event, reference)
            }
        };
        let reference = reference.filter(|reference| reference.starts_with("refs/"));
        let WireRepository { id, full_name, default_branch } = self.repository;
        Origin { repository: full_name, repository_id: id, default_branch, event, reference }
    }
}

/// The ref of a run of Gitea. Of a pull request's none is believed: a job for `pull_request_target`, which has secrets and runs the
/// target's code, is told with the same event and ref as one that runs the pull request's own (services/convert and
/// services/actions/notifier_helper.go of 1.26). Nor is one that a file's name may have made up: whoever pushes chooses it.
fn gitea_ref<'a>(event: &str, path: &'a str) -> Option<&'a str> {
    let (_, reference) = path.split_once('@')?;
    (!event.starts_with("pull_request") && !reference.contains('@')).then_some(reference)
}

/// A Forgejo tells the short name of a ref alone, by which a tag cannot be told from a branch. What happened tells more.
fn forgejo_ref(event: &str, pretty: &str, payload: &str) -> Option<String> {
    if event == "pull_request" {
        let number: u64 = pretty.strip_prefix('#')?.parse().ok()?;
        return Some(format!("refs/pull/{number}/head"));
    }
    let payload: Payload = serde_json::from_str(payload).ok()?;
    let short =
        payload.reference.strip_prefix("refs/heads/").or(payload.reference.strip_prefix("refs/tags/"));
    (short? == pretty).then_some(payload.reference)
}

impl Gitea {
    /// What caused a job that a runner has; none when the server does not tell.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn origin(&self, job: &Job) -> Result<Option<Origin>, Error> {
        let doing = format!("ask what caused job {} of {}", job.id, job.scope);
        let repository = match &job.repository {
            Some(name) => Some(name.clone()),
            None => self.repository(job.repository_id).await?,
        };
        let Some(repository) = repository.as_deref().and_then(scope_of) else { return Ok(None) };
        let cause = match job.run_id {
            Some(run) => {
                let call = Call::get(doing, self.actions(&repository, &["runs", &run.to_string()]));
                let response = self.caller().send(&call).await?;
                match response.status {
                    StatusCode::OK => Some(self.read::<WireCause>(&response, "a run")?),
                    StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => None,
                    _ => return Err(self.failure(&call, &response)),
                }
            }
            None => self.cause_of_task(doing, &repository, job).await?,
        };
        // A run of another repository would be a mistake of ours or of the server's; nobody gains by it.
        let cause = cause.filter(|cause| {
            !cause.repository.default_branch.is_empty()
                && scope_of(&cause.repository.full_name).as_ref() == Some(&repository)
                && job.repository_id.is_none_or(|id| id == cause.repository.id)
        });
        Ok(cause.map(|cause| cause.read(self.kind())))
    }

    /// A Forgejo before 17 does not tell a job's run; the list of tasks does, by its number in the repository.
    async fn cause_of_task(
        &self,
        doing: String,
        repository: &Scope,
        job: &Job,
    ) -> Result<Option<WireCause>, Error> {
        let Some(task) = job.task else { return Ok(None) };
        let call = Call::get(doing.clone(), self.actions(repository, &["tasks"]));
        let page = self.list_page(&call, 1, |task: &WireTask| task.id).await?;
        let number = page.items.into_iter().find(|(id, _)| *id == task).and_then(|(_, task)| task.run_number);
        let Some(number) = number else { return Ok(None) };
        let mut url = self.actions(repository, &["runs"]);
        url.query_pairs_mut().append_pair("run_number", &number.to_string());
        let response = self.ok(&Call::get(doing, url)).await?;
        let runs: Runs = self.read(&response, "a list of runs")?;
        Ok(runs.workflow_runs.into_iter().find(|run| run.index_in_repo == number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_of_gitea_is_one_that_nobody_has_made_up() {
        assert_eq!(gitea_ref("push", "ci.yml@refs/heads/main"), Some("refs/heads/main"));
        for (event, path) in [
            ("push", "ci.yml"),
            ("push", "x@refs/heads/main/ci.yml@refs/heads/topic"),
            ("push", "ci.yml@refs/heads/x@refs/heads/main"),
            ("pull_request", "ci.yml@refs/pull/8/head"),
            ("pull_request_target", "ci.yml@refs/heads/main"),
        ] {
            assert_eq!(gitea_ref(event, path), None, "{event} {path}");
        }
    }

    #[test]
    fn a_ref_of_forgejo_is_told_whole_or_not_at_all() {
        let push = |reference: &str| format!("{{\"ref\":\"{reference}\",\"before\":\"0\"}}");
        let told = |event: &str, pretty: &str, payload: &str| forgejo_ref(event, pretty, payload);
        assert_eq!(told("push", "main", &push("refs/heads/main")).as_deref(), Some("refs/heads/main"));
        assert_eq!(told("push", "v1", &push("refs/tags/v1")).as_deref(), Some("refs/tags/v1"));
        assert_eq!(told("pull_request", "#7", "{}").as_deref(), Some("refs/pull/7/head"));
        for (event, pretty, payload) in [
            ("push", "main", push("refs/heads/other")),
            ("push", "main", push("main")),
            ("push", "#7", push("refs/pull/7/head")),
            ("pull_request", "main", push("refs/heads/main")),
            ("pull_request", "#seven", "{}".to_owned()),
            ("schedule", "main", String::new()),
        ] {
            assert_eq!(told(event, pretty, &payload), None, "{event} {pretty} {payload}");
        }
    }
}
