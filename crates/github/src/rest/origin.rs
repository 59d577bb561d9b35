//! What caused a job: its run and the queue of its scale set tell it together.

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::caller::Call;
use crate::response::Meaning as _;
use crate::{Error, Github, Repository, RunId};

/// What caused a job, as GitHub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its repository, `owner/name`.
    pub repository: String,
    /// The repository's number.
    pub repository_id: u64,
    /// The repository's default branch.
    pub default_branch: String,
    /// The event: `push`, `pull_request`, `schedule`, …
    pub event: String,
    /// The whole ref (`refs/heads/main`, `refs/pull/7/merge`), where it is told beyond doubt.
    pub reference: Option<String>,
}

/// A run, as far as it tells what caused it.
#[derive(Deserialize)]
struct WireRun {
    event: String,
    /// The short name of a branch or tag; of a pull request, that of the branch that it comes from, wherever that is.
    head_branch: Option<String>,
    /// None where GitHub does not say.
    #[serde(default)]
    referenced_workflows: Option<Vec<Referenced>>,
    repository: RepositoryId,
}

#[derive(Deserialize)]
struct RepositoryId {
    id: u64,
}

/// A workflow that the run's own calls.
#[derive(Deserialize)]
struct Referenced {
    /// `owner/name/.github/workflows/FILE@REF`.
    path: String,
}

#[derive(Deserialize)]
struct WireRepository {
    id: u64,
    full_name: String,
    default_branch: String,
}

impl Github {
    /// What caused a job of this run, of which the queue of its scale set says that it runs this workflow
    /// (`owner/name/.github/workflows/FILE@REF`); none when GitHub does not tell.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn origin(
        &self,
        repository: &Repository,
        run: RunId,
        workflow_ref: &str,
    ) -> Result<Option<Origin>, Error> {
        let (id, doing) = (run.to_string(), format!("ask what caused run {run} of {repository}"));
        let of_run = Call::get(doing, "runs", self.of(repository, &["actions", "runs", &id]));
        let doing = format!("look at {repository}");
        let of_repository = Call::get(doing, "repositories", self.of(repository, &[])).conditional();
        let of_run = self.told::<WireRun>(repository, of_run);
        let of_repository = self.told::<WireRepository>(repository, of_repository);
        let (Some(run), Some(known)) = futures::try_join!(of_run, of_repository)? else { return Ok(None) };
        // A repository that was renamed answers by its new name, and another one may have the old.
        let is_it = known.full_name.parse::<Repository>().ok().as_ref() == Some(repository);
        if !is_it || known.id != run.repository.id {
            return Ok(None);
        }
        let reference = reference(repository, &run, workflow_ref).map(str::to_owned);
        let WireRepository { id, full_name, default_branch } = known;
        Ok(Some(Origin {
            repository: full_name,
            repository_id: id,
            default_branch,
            event: run.event,
            reference,
        }))
    }

    async fn told<T: DeserializeOwned>(
        &self,
        repository: &Repository,
        call: Call,
    ) -> Result<Option<T>, Error> {
        let response = self.call(&repository.scope(), &call).await?;
        match response.status {
            StatusCode::OK => Ok(Some(response.json("what caused a job")?)),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Ok(None),
            _ => Err(response.failure()),
        }
    }
}

/// The ref of a run's job. A job of a workflow that another one calls is told with the ref of the called one, which whoever
/// writes the calling one chooses: of those nothing is believed.
/// (<https://docs.github.com/actions/sharing-automations/reusing-workflows>, `job_workflow_ref` in
/// <https://docs.github.com/actions/security-for-github-actions/security-hardening-your-deployments/about-security-hardening-with-openid-connect>)
fn reference<'a>(repository: &Repository, run: &WireRun, workflow_ref: &'a str) -> Option<&'a str> {
    let (path, reference) = workflow_ref.split_once('@')?;
    let mut parts = path.splitn(3, '/');
    let its = format!("{}/{}", parts.next()?, parts.next()?).parse::<Repository>().ok()?;
    let is_called = run.referenced_workflows.as_ref()?.iter().any(|called| {
        called.path.split_once('@').map_or(called.path.as_str(), |(path, _)| path).eq_ignore_ascii_case(path)
    });
    // A file's name may have an '@' of its own, and so may a branch's.
    if its != *repository || is_called || reference.contains('@') {
        return None;
    }
    let told = if run.event == "pull_request" {
        let number = reference.strip_prefix("refs/pull/").and_then(|rest| rest.strip_suffix("/merge"));
        number.is_some_and(|number| number.parse::<u64>().is_ok())
    } else {
        let short = reference.strip_prefix("refs/heads/").or(reference.strip_prefix("refs/tags/"));
        short.is_some() && short == run.head_branch.as_deref()
    };
    told.then_some(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CI: &str = "acme/app/.github/workflows/ci.yml";

    fn told(event: &str, branch: &str, called: &[&str], workflow_ref: &str) -> Option<String> {
        let called = called.iter().map(|path| Referenced { path: (*path).to_owned() }).collect();
        let run = WireRun {
            event: event.to_owned(),
            head_branch: Some(branch.to_owned()),
            referenced_workflows: Some(called),
            repository: RepositoryId { id: 1 },
        };
        reference(&"Acme/App".parse().unwrap(), &run, workflow_ref).map(str::to_owned)
    }

    #[test]
    fn a_ref_is_one_on_which_both_agree() {
        for (event, branch, reference) in [
            ("push", "main", "refs/heads/main"),
            ("push", "v1", "refs/tags/v1"),
            ("schedule", "main", "refs/heads/main"),
            ("push", "a/b", "refs/heads/a/b"),
            ("pull_request", "topic", "refs/pull/7/merge"),
        ] {
            let workflow_ref = format!("{CI}@{reference}");
            assert_eq!(told(event, branch, &[], &workflow_ref).as_deref(), Some(reference));
            // It calls others, whose jobs are not this one.
            let called = ["acme/shared/.github/workflows/ci.yml@main"];
            assert_eq!(told(event, branch, &called, &workflow_ref).as_deref(), Some(reference));
        }
    }

    #[test]
    fn a_ref_that_somebody_may_have_chosen_is_none() {
        let main = format!("{CI}@refs/heads/main");
        for (event, branch, called, workflow_ref) in [
            ("push", "topic", vec![], main.clone()),
            // The job is of a workflow that the run's own calls at main.
            ("push", "main", vec!["acme/app/.github/workflows/CI.yml@main"], main.clone()),
            ("push", "main", vec![], "acme/other/.github/workflows/ci.yml@refs/heads/main".to_owned()),
            (
                "push",
                "main",
                vec![],
                "acme/app/.github/workflows/x@refs/heads/main/ci.yml@refs/heads/topic".to_owned(),
            ),
            ("push", "x@y", vec![], format!("{CI}@refs/heads/x@y")),
            ("push", "main", vec![], format!("{CI}@main")),
            ("push", "main", vec![], CI.to_owned()),
            // A branch of a fork may have any name.
            ("pull_request", "main", vec![], main.clone()),
            ("pull_request", "topic", vec![], format!("{CI}@refs/pull/x/merge")),
            ("pull_request", "topic", vec![], format!("{CI}@refs/pull/7/head")),
            ("push", "refs/pull/7/merge", vec![], format!("{CI}@refs/pull/7/merge")),
        ] {
            assert_eq!(
                told(event, branch, &called, &workflow_ref),
                None,
                "{event} {branch} {called:?} {workflow_ref}"
            );
        }
    }
}
