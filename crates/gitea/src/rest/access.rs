//! What the tokens may do at a scope: for `fireactions forge check`.

use fireactions_http::{Response, times};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::address::rest;
use crate::caller::{Call, Signed};
use crate::{Capabilities, Error, Gitea, Jobs, Kind, Scope, Server};

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The server.
    pub server: Server,
    /// What the token has to have for this scope.
    pub needs: Vec<Need>,
    /// Each call that is needed, tried without any effect.
    pub checks: Vec<Check>,
    /// Scopes that the token turned out to lack, such as `write:organization`.
    pub missing: Vec<String>,
    /// What the server's version does not have, and what follows, as sentences.
    pub lacks: Vec<String>,
    /// How far the server's clock is ahead of ours; its precision is a second.
    pub clock: Option<SignedDuration>,
}

/// A scope of tokens that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// As the page of tokens has it, such as `write:organization`.
    pub scope: &'static str,
    /// What for.
    pub why: &'static str,
}

/// A call that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is for, such as `list the runners of orgs/acme`.
    pub doing: String,
    /// Whether it may be done.
    pub outcome: Result<(), Error>,
}

impl Access {
    /// Whether all that was tried may be done.
    pub fn is_enough(&self) -> bool {
        self.checks.iter().all(|check| check.outcome.is_ok())
    }
}

impl Gitea {
    /// Looks at what the tokens may do at a scope. Nothing is changed: a registration is tried without a name, which is
    /// refused, or a registration token is asked for, which is the same each time.
    ///
    /// # Errors
    ///
    /// See [`Error`]: the server cannot be asked for its version. What is merely missing is in the result.
    pub async fn access(&self, scope: &Scope) -> Result<Access, Error> {
        let (server, can) = self.can().await?;
        let call = Call {
            signed: Signed::No,
            ..Call::get("ask for the time".into(), rest(self.base(), &["version"]))
        };
        let clock = self.caller().send(&call).await.ok().and_then(|response| ahead(&response));
        let (mut checks, token) = (Vec::new(), self.caller().has_token());
        if self.registration_token().is_none() {
            checks.push(self.may_register(scope, can).await);
        }
        if token && can.runner_api {
            checks.push(
                self.may_list(format!("list the runners of {scope}"), self.actions(scope, &["runners"]))
                    .await,
            );
        }
        if token && can.jobs != Jobs::None {
            let url = match (self.kind(), scope) {
                (Kind::Gitea, _) => self.actions(scope, &["jobs"]),
                (Kind::Forgejo, Scope::Instance) => rest(self.base(), &["admin", "runners", "jobs"]),
                (Kind::Forgejo, _) => self.actions(scope, &["runners", "jobs"]),
            };
            checks.push(self.may_list(format!("list the jobs of {scope}"), url).await);
            if !matches!(scope, Scope::Repository { .. }) {
                checks.push(self.may_read_repositories().await);
            }
        }
        let mut missing: Vec<String> = Vec::new();
        for check in &checks {
            if let Err(Error::Forbidden { needs, .. }) = &check.outcome {
                missing
                    .extend(needs.iter().filter(|need| !missing.contains(need)).cloned().collect::<Vec<_>>());
            }
        }
        let lacks = lacks(&server, can, token);
        Ok(Access {
            server,
            needs: if token { needs(scope) } else { Vec::new() },
            checks,
            missing,
            lacks,
            clock,
        })
    }

    async fn may_register(&self, scope: &Scope, can: Capabilities) -> Check {
        let doing = format!("register runners at {scope}");
        let call = if can.rest_registration {
            let url = self.actions(scope, &["runners"]);
            Call { repeatable: true, ..Call::post(doing.clone(), url, Some(json!({}))) }
        } else {
            self.token_call(doing.clone(), scope, can)
        };
        let outcome = self.caller().send(&call).await.and_then(|response| match response.status {
            StatusCode::OK => Ok(()),
            // It was allowed, and then lacked a name.
            StatusCode::UNPROCESSABLE_ENTITY if call.method == Method::POST && can.rest_registration => {
                Ok(())
            }
            _ => Err(self.failure(&call, &response)),
        });
        Check { doing, outcome }
    }

    async fn may_list(&self, doing: String, mut url: url::Url) -> Check {
        // Forgejo's queue has no pages.
        if !url.path().ends_with("/runners/jobs") {
            url.query_pairs_mut().append_pair("limit", "1");
        }
        let outcome = self.ok(&Call::get(doing.clone(), url)).await.map(drop);
        Check { doing, outcome }
    }

    /// A job's result and its repository's name are the repository's. There is none with this number, which is told only to
    /// who may ask.
    async fn may_read_repositories(&self) -> Check {
        let doing = "read repositories".to_owned();
        let call = Call::get(doing.clone(), rest(self.base(), &["repositories", "0"]));
        let outcome = self.caller().send(&call).await.and_then(|response| match response.status {
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(self.caller().failure(&call, &response)),
        });
        Check { doing, outcome }
    }
}

fn ahead(response: &Response) -> Option<SignedDuration> {
    Some(times::date(&response.headers)?.duration_since(Timestamp::now()))
}

/// What a token needs for a scope.
fn needs(scope: &Scope) -> Vec<Need> {
    let (registers, reads) =
        ("to register, list and remove runners, and to list jobs", "to see how a job ended");
    let first = match scope {
        Scope::Instance => Need {
            scope: "write:admin",
            why: "of a site administrator, to register, list and remove runners",
        },
        Scope::User => Need { scope: "write:user", why: registers },
        Scope::Organization(_) => {
            Need { scope: "write:organization", why: "of an owner, to register, list and remove runners" }
        }
        Scope::Repository { .. } => return vec![Need { scope: "write:repository", why: registers }],
    };
    vec![first, Need { scope: "read:repository", why: reads }]
}

/// What the version does not have.
fn lacks(server: &Server, can: Capabilities, token: bool) -> Vec<String> {
    let mut lacks = Vec::new();
    let (kind, version) = (server.kind, server.version);
    let later = |gitea: &str, forgejo: &str| match kind {
        Kind::Gitea => gitea.to_owned(),
        Kind::Forgejo => forgejo.to_owned(),
    };
    if !can.ephemeral {
        let from = later("1.24", "15");
        lacks.push(format!(
            "{kind} {version} has no ephemeral runners: a runner could take a second job before it is removed; {kind} {from} has them"
        ));
    }
    if can.jobs == Jobs::None {
        let from = later("1.25", "11");
        let instead = if can.job_hooks { "webhooks report them" } else { "runners wait for them" };
        lacks.push(format!("{kind} {version} cannot list waiting jobs: {instead}; {kind} {from} can"));
    } else if !token {
        lacks.push(format!(
            "without an API token, the jobs of this {kind} are not visible: runners wait for them"
        ));
    }
    if !can.runner_api {
        let from = later("1.24", "15");
        lacks.push(format!("{kind} {version} has no API to remove runners: unused ones stay in its list; {kind} {from} has it"));
    }
    lacks
}
