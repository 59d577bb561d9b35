//! Runners and their groups.

use fireactions_model::Secret;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::address::{path, url};
use crate::caller::Call;
use crate::response::Meaning as _;
use crate::runner::{Deleted, Jit, JitRequest, RegistrationToken, Runner, RunnerGroup};
use crate::{Error, Github, Repository, RunnerId, Scope};

#[derive(Deserialize)]
struct Runners {
    runners: Vec<Runner>,
}

#[derive(Deserialize)]
struct Groups {
    runner_groups: Vec<RunnerGroup>,
}

#[derive(Deserialize)]
struct Selected {
    repositories: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

#[derive(Deserialize)]
struct WireJit {
    runner: Runner,
    encoded_jit_config: String,
}

#[derive(Deserialize)]
struct WireRegistration {
    token: String,
    expires_at: Timestamp,
}

impl Github {
    /// The runner groups of a scope. A repository has none: its runners are in group 1.
    ///
    /// # Errors
    ///
    /// See [`Error`]; `Forbidden` or `NotFound` when the credential may not see them.
    pub async fn runner_groups(&self, scope: &Scope) -> Result<Vec<RunnerGroup>, Error> {
        if matches!(scope, Scope::Repository { .. }) {
            return Ok(Vec::new());
        }
        let url = self.actions(scope, &["runner-groups"]);
        let call = Call::get(format!("list the runner groups of {scope}"), "runner-groups", url);
        self.list(scope, call.conditional(), |page: Groups| page.runner_groups).await
    }

    /// The repositories that were selected for a runner group.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn group_repositories(&self, scope: &Scope, group: u64) -> Result<Vec<Repository>, Error> {
        let url = self.actions(scope, &["runner-groups", &group.to_string(), "repositories"]);
        let doing = format!("list the repositories of runner group {group} of {scope}");
        let call = Call::get(doing, "group-repositories", url).conditional();
        let selected = self.list(scope, call, |page: Selected| page.repositories).await?;
        Ok(selected.into_iter().filter_map(|one| one.full_name.parse().ok()).collect())
    }

    /// All runners of a scope.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn runners(&self, scope: &Scope) -> Result<Vec<Runner>, Error> {
        let url = self.actions(scope, &["runners"]);
        let call = Call::get(format!("list the runners of {scope}"), "runners", url);
        self.list(scope, call, |page: Runners| page.runners).await
    }

    /// One runner; none when there is no such runner (any more).
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn runner(&self, scope: &Scope, runner: RunnerId) -> Result<Option<Runner>, Error> {
        let url = self.actions(scope, &["runners", &runner.to_string()]);
        let call = Call::get(format!("look at runner {runner} of {scope}"), "runner", url);
        let response = self.call(scope, &call).await?;
        match response.status {
            StatusCode::OK => Ok(Some(response.json("a runner")?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(response.failure()),
        }
    }

    /// Takes a runner out of its scope. One that has a job stays.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn delete_runner(&self, scope: &Scope, runner: RunnerId) -> Result<Deleted, Error> {
        let url = self.actions(scope, &["runners", &runner.to_string()]);
        let doing = format!("remove runner {runner} of {scope}");
        let call = Call { method: Method::DELETE, ..Call::get(doing, "delete-runner", url) };
        let response = self.call(scope, &call).await?;
        match response.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(Deleted::Gone),
            StatusCode::UNPROCESSABLE_ENTITY => Ok(Deleted::Busy),
            _ => Err(response.failure()),
        }
    }

    /// Registers a just-in-time runner. It is sent once: after [`Error::Interrupted`], [`Error::Timeout`] or
    /// [`Error::Server`] the runner may exist, and the next call with its name says [`Error::NameTaken`].
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn generate_jit(&self, scope: &Scope, request: &JitRequest) -> Result<Jit, Error> {
        let doing = format!("register runner '{}' at {scope}", request.name);
        let url = self.actions(scope, &["runners", "generate-jitconfig"]);
        let body = json!({
            "name": request.name,
            "runner_group_id": request.group,
            "labels": request.labels,
            "work_folder": request.work_folder,
        });
        let call = Call {
            method: Method::POST,
            body: Some(body),
            repeatable: false,
            ..Call::get(doing, "generate-jitconfig", url)
        };
        let response = self.call(scope, &call).await?;
        match response.status {
            StatusCode::CREATED => {
                let jit: WireJit = response.json("a runner's configuration")?;
                Ok(Jit { runner: jit.runner, config: Secret::new(jit.encoded_jit_config) })
            }
            StatusCode::CONFLICT => Err(Error::NameTaken { name: request.name.clone() }),
            _ => Err(response.failure()),
        }
    }

    /// A token that registers runners, and that opens the Actions service of a scope.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn registration_token(&self, scope: &Scope) -> Result<RegistrationToken, Error> {
        self.registration_token_until(scope, self.caller().deadline()).await
    }

    pub(crate) async fn registration_token_until(
        &self,
        scope: &Scope,
        until: Instant,
    ) -> Result<RegistrationToken, Error> {
        let url = self.actions(scope, &["runners", "registration-token"]);
        let doing = format!("get a registration token for {scope}");
        // Repeatable: a token that nobody hears of ends by itself.
        let call = Call { method: Method::POST, ..Call::get(doing, "registration-token", url) };
        let response = self.call_until(scope, &call, until).await?;
        if response.status != StatusCode::CREATED {
            return Err(response.failure());
        }
        let wire: WireRegistration = response.json("a registration token")?;
        Ok(RegistrationToken { token: Secret::new(wire.token), expires_at: wire.expires_at })
    }

    fn actions(&self, scope: &Scope, more: &[&str]) -> url::Url {
        let mut at = path(scope);
        at.push("actions");
        at.extend(more);
        url(self.api(), &at)
    }
}
