//! Registering runners: by the REST API (Forgejo from 15), otherwise by a registration token and the runner protocol.
//!
//! The registration token is one and the same for the whole scope, and takes any number of runners: it never leaves the
//! host.

use fireactions_http::read_secret;
use fireactions_model::Secret;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::address::{procedure, rest};
use crate::caller::{Call, Signed};
use crate::{Capabilities, Error, Gitea, Kind, Registered, Registration, RunnerId, Scope, label_name};

#[derive(Deserialize)]
struct Token {
    token: String,
}

/// By the REST API.
#[derive(Deserialize)]
struct WireRegistered {
    id: RunnerId,
    uuid: String,
    token: String,
}

/// By the runner protocol, where numbers of 64 bits are words.
#[derive(Deserialize)]
struct WireAnswer {
    runner: WireRunner,
}

#[derive(Deserialize)]
struct WireRunner {
    #[serde(deserialize_with = "number")]
    id: u64,
    uuid: String,
    token: String,
    #[serde(default)]
    ephemeral: bool,
}

fn number<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Word(String),
    }
    match Either::deserialize(from)? {
        Either::Number(number) => Ok(number),
        Either::Word(word) => word.parse().map_err(serde::de::Error::custom),
    }
}

impl Gitea {
    /// Registers a runner. It is sent once: after [`Error::Interrupted`], [`Error::Timeout`] or [`Error::Server`] the
    /// runner may exist, under a number and a token that nobody knows; names are not unique.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub async fn register(&self, scope: &Scope, runner: &Registration) -> Result<Registered, Error> {
        let (_, can) = self.can().await?;
        if let Some(source) = self.registration_token() {
            let token = read_secret(source, "the registration token").await;
            let token = token.map_err(|error| Error::of(self.kind(), error))?;
            return self.register_by(&token, scope, runner, can).await;
        }
        if can.rest_registration {
            return self.register_at(scope, runner).await;
        }
        let token = self.scopes_token(scope, can).await?;
        self.register_by(&token, scope, runner, can).await
    }

    async fn register_at(&self, scope: &Scope, runner: &Registration) -> Result<Registered, Error> {
        let body = json!({ "name": runner.name, "ephemeral": runner.ephemeral });
        let call = Call::post(registering(scope, runner), self.actions(scope, &["runners"]), Some(body));
        let response = self.caller().send(&call).await?;
        if response.status != StatusCode::CREATED {
            return Err(self.failure(&call, &response));
        }
        let wire: WireRegistered = self.read(&response, "a registered runner")?;
        let token = Secret::new(wire.token);
        Ok(Registered { id: wire.id, uuid: wire.uuid, token, ephemeral: runner.ephemeral })
    }

    /// The scope's registration token: the same each time.
    async fn scopes_token(&self, scope: &Scope, can: Capabilities) -> Result<Secret, Error> {
        let doing = format!("get the registration token of {scope}");
        let call = self.token_call(doing, scope, can);
        let response = self.ok(&call).await?;
        let wire: Token = self.read(&response, "a registration token")?;
        Ok(Secret::new(wire.token))
    }

    /// How a scope's registration token is asked for.
    pub(super) fn token_call(&self, doing: String, scope: &Scope, can: Capabilities) -> Call {
        if can.posts_token {
            let url = self.actions(scope, &["runners", "registration-token"]);
            return Call { repeatable: true, ..Call::post(doing, url, None) };
        }
        // The older address of the instance's.
        let url = match scope {
            Scope::Instance => rest(self.base(), &["admin", "runners", "registration-token"]),
            _ => self.actions(scope, &["runners", "registration-token"]),
        };
        Call::get(doing, url)
    }

    async fn register_by(
        &self,
        token: &Secret,
        scope: &Scope,
        runner: &Registration,
        can: Capabilities,
    ) -> Result<Registered, Error> {
        let labels: Vec<&str> = runner.labels.iter().map(|label| label_name(label)).collect();
        let mut body = json!({
            "name": runner.name,
            "token": token.expose().trim(),
            "version": runner.version,
            "labels": labels,
        });
        if runner.ephemeral && can.ephemeral {
            body["ephemeral"] = true.into();
        }
        let url = procedure(self.base(), "Register");
        let call = Call {
            signed: Signed::No,
            headers: &[("connect-protocol-version", "1")],
            ..Call::post(registering(scope, runner), url, Some(body))
        };
        let response = self.ok(&call).await.map_err(|error| match error {
            Error::Unauthorized { forge, doing, message } => {
                let by_hand = self.registration_token().is_some();
                let page = if by_hand { "; use the one that its page of runners shows now" } else { "" };
                Error::Unauthorized {
                    forge,
                    doing,
                    message: format!("{message} (it is the registration token){page}"),
                }
            }
            error => error,
        })?;
        let wire: WireAnswer = self.read(&response, "a registered runner")?;
        let WireRunner { id, uuid, token, ephemeral } = wire.runner;
        if uuid.is_empty() || token.is_empty() {
            let why = "the runner has no credential".to_owned();
            return Err(Error::Unexpected { forge: self.kind(), doing: call.doing, why });
        }
        if runner.ephemeral && can.ephemeral && !ephemeral && self.kind() == Kind::Gitea {
            tracing::warn!(runner = %runner.name, "the server registered the runner, but not as ephemeral");
        }
        Ok(Registered { id: RunnerId::new(id), uuid, token: Secret::new(token), ephemeral })
    }
}

fn registering(scope: &Scope, runner: &Registration) -> String {
    format!("register runner '{}' at {scope}", runner.name)
}
