//! Runners that are there.

use fireactions_http::Response;
use reqwest::{Method, StatusCode};

use crate::caller::Call;
use crate::meaning::message;
use crate::pages;
use crate::wire::WireRunner;
use crate::{Error, Gitea, Runner, RunnerId, Scope};

/// Most runners that are read.
const MAX_RUNNERS: usize = 10_000;

impl Gitea {
    /// All runners of a scope, whatever the size of the server's pages. At Gitea those of the instance are those of all
    /// scopes, at Forgejo the instance's own.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Unsupported`] for Gitea before 1.24 and Forgejo before 15.
    pub async fn runners(&self, scope: &Scope) -> Result<Vec<Runner>, Error> {
        let call = Call::get(format!("list the runners of {scope}"), self.actions(scope, &["runners"]));
        let (server, can) = self.can().await?;
        if !can.runner_api {
            return Err(server.lacks(call.doing, "API that lists runners", "1.24", "15"));
        }
        let fetch = |number| self.list_page(&call, number, WireRunner::id);
        let all = pages::all(MAX_RUNNERS, fetch).await?;
        Ok(all.into_iter().map(Runner::from).collect())
    }

    /// One runner of a scope; none when it is gone.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Unsupported`] for Gitea before 1.24 and Forgejo before 15.
    pub async fn runner(&self, scope: &Scope, runner: RunnerId) -> Result<Option<Runner>, Error> {
        let url = self.actions(scope, &["runners", &runner.to_string()]);
        let call = Call::get(format!("look at runner {runner} of {scope}"), url);
        let (server, can) = self.can().await?;
        if !can.runner_api {
            return Err(server.lacks(call.doing, "API that shows runners", "1.24", "15"));
        }
        let response = self.caller().send(&call).await?;
        match response.status {
            StatusCode::OK => Ok(Some(self.read::<WireRunner>(&response, "a runner")?.into())),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.failure(&call, &response)),
        }
    }

    /// Has a runner take no job from now on, or take jobs again. What it has, it goes on with. False when there is no such
    /// runner, or the server cannot: [`crate::Capabilities::disables_runners`].
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn disable_runner(
        &self,
        scope: &Scope,
        runner: RunnerId,
        disabled: bool,
    ) -> Result<bool, Error> {
        if !self.can().await?.1.disables_runners {
            return Ok(false);
        }
        let url = self.actions(scope, &["runners", &runner.to_string()]);
        let what = if disabled { "disable" } else { "enable" };
        let call = Call {
            method: Method::PATCH,
            body: Some(serde_json::json!({"disabled": disabled})),
            ..Call::get(format!("{what} runner {runner} of {scope}"), url)
        };
        let response = self.caller().send(&call).await?;
        match response.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.failure(&call, &response)),
        }
    }

    /// Takes a runner out of its scope, also one that has a job: that goes on as if the runner had died. One that is gone
    /// is no error.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Forbidden`] when it is another scope's, [`Error::Unsupported`] for Gitea before 1.24 and
    /// Forgejo before 15.
    pub async fn delete_runner(&self, scope: &Scope, runner: RunnerId) -> Result<(), Error> {
        let url = self.actions(scope, &["runners", &runner.to_string()]);
        let doing = format!("remove runner {runner} of {scope}");
        let (server, can) = self.can().await?;
        if !can.runner_api {
            return Err(server.lacks(doing, "API that removes runners", "1.24", "15"));
        }
        let call = Call { method: Method::DELETE, answered: is_gone, ..Call::get(doing, url) };
        let response = self.caller().send(&call).await?;
        let done = matches!(response.status, StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::NOT_FOUND);
        if !done && !is_gone(&response) {
            return Err(self.failure(&call, &response));
        }
        if response.status == StatusCode::NOT_FOUND && message(&response).contains("No permission") {
            // The runner is there, and another scope's.
            let (doing, message) = (call.doing, message(&response));
            return Err(Error::Forbidden { forge: self.kind(), doing, message, needs: Vec::new() });
        }
        Ok(())
    }
}

/// Some versions of Gitea answer so when there is no such runner.
fn is_gone(response: &Response) -> bool {
    response.status == StatusCode::INTERNAL_SERVER_ERROR && message(response).contains("does not exist")
}
