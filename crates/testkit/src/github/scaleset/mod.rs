//! The Actions service: runner scale sets, their sessions and message queues, and the runners of sets.

mod queue;
mod reply;
mod sets;
mod stats;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::http::{Ask, Reply, Shared, random, uuid};

use super::known::accounts::{Scope, ScopeId};
use super::known::groups::{DEFAULT_GROUP, Group};
use super::known::runners::{Entry, Runner, RunnerFate};
use super::state::State;

pub(super) use reply::PREFIX;
use reply::{failure, list};

/// The version of the service's API.
const VERSION: &str = "6.0-preview";

pub(super) async fn answer(shared: &Shared<State>, ask: &Ask, path: &str) -> Reply {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let reply = match (ask.method.as_str(), parts.as_slice()) {
        ("GET", ["_message", set]) => queue::next(shared, ask, set).await,
        ("DELETE", ["_message", set, id]) => shared.with(|state| state.acknowledge(ask, set, id)),
        (_, ["_apis", rest @ ..]) => {
            shared.with(|state| state.actions(ask, rest).unwrap_or_else(|reply| reply))
        }
        _ => failure(404, "VssResourceNotFoundException", "no such resource"),
    };
    let (date, bom) = shared.with(|state| (state.clock.date(), state.sets.bom));
    let mut reply = reply.header("date", &date).header("activityid", &uuid());
    if bom && !reply.body.is_empty() {
        reply.body.splice(0..0, *b"\xef\xbb\xbf");
    }
    reply
}

impl State {
    /// `POST /actions/runner-registration`: the service's address and a token for it.
    pub(super) fn register(&mut self, ask: &Ask) -> Reply {
        let Some(token) = ask.authorization("remoteauth") else {
            return Reply::error(401, "Bad credentials");
        };
        let now = self.clock.now();
        let registered = self.sets.registrations.get(token).filter(|(_, expires)| *expires > now);
        let Some((scope, _)) = registered.copied() else { return Reply::error(404, "Not Found") };
        let body = ask.json().unwrap_or(Value::Null);
        if body["runner_event"] != "register" {
            self.violation(format!("runner-registration: runner_event is {}", body["runner_event"]));
        }
        let wanted = body["url"].as_str().and_then(|url| self.scope_of_url(url));
        if wanted != Some(scope) {
            self.violation(format!("runner-registration: {} is not where the token is from", body["url"]));
            return Reply::error(404, "Not Found");
        }
        let expires = now.saturating_add(self.sets.lifetime()).unwrap_or_default();
        let claims = json!({"exp": expires.as_second(), "nonce": random(16)});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"alg": "HS256", "typ": "JWT"});
        let token = format!("{}.{}.{}", encode(&head), encode(&claims), random(43));
        self.sets.admins.insert(token.clone(), (scope, expires));
        let url = format!("{}{PREFIX}/", self.base);
        Reply::json(200, &json!({"url": url, "token": token, "token_schema": "OAuthAccessToken"}))
    }

    /// The scope that people see at a URL.
    fn scope_of_url(&self, url: &str) -> Option<ScopeId> {
        let path = url.strip_prefix(&self.base)?.trim_matches('/');
        let scope = match path.split('/').collect::<Vec<_>>().as_slice() {
            [login] => Scope::Organization((*login).to_owned()),
            ["enterprises", slug] => Scope::Enterprise((*slug).to_owned()),
            [owner, name] => Scope::Repository(format!("{owner}/{name}")),
            _ => return None,
        };
        self.accounts.find(&scope)
    }

    fn admin(&self, ask: &Ask) -> Result<ScopeId, Reply> {
        let now = self.clock.now();
        let known = ask.authorization("bearer").and_then(|token| self.sets.admins.get(token));
        let known = known.filter(|(_, expires)| *expires > now).map(|(scope, _)| *scope);
        known.ok_or_else(|| failure(401, "VssUnauthorizedException", "the token is not valid"))
    }

    fn actions(&mut self, ask: &Ask, parts: &[&str]) -> Result<Reply, Reply> {
        if ask.param("api-version") != Some(VERSION) {
            self.violation(format!("{} {}: api-version is not {VERSION}", ask.method, ask.path));
        }
        // With the queue's token, unlike everything else.
        if let ("POST", ["runtime", "runnerscalesets", id, "acquirejobs"]) = (ask.method.as_str(), parts) {
            return Ok(self.acquire(ask, id));
        }
        let scope = self.admin(ask)?;
        match (ask.method.as_str(), parts) {
            ("GET", ["runtime", "runnergroups", ..]) => {
                let wanted = |name: &str| {
                    ask.param("groupName").is_none_or(|wanted| wanted.eq_ignore_ascii_case(name))
                };
                let groups = self.accounts.groups(scope).into_iter().filter(|group| wanted(&group.name));
                let object = |group: Group| {
                    let is_default = group.id == DEFAULT_GROUP;
                    json!({"id": group.id, "name": group.name, "isDefaultGroup": is_default})
                };
                Ok(list(groups.map(object)))
            }
            (_, ["runtime", "runnerscalesets", rest @ ..]) => self.set_routes(ask, scope, rest),
            (method, ["distributedtask", "pools", "0", "agents", rest @ ..]) => {
                self.agents(ask, method, scope, rest)
            }
            _ => Err(failure(404, "VssResourceNotFoundException", "no such resource")),
        }
    }

    /// Runners by the service's name for them.
    fn agents(&mut self, ask: &Ask, method: &str, scope: ScopeId, rest: &[&str]) -> Result<Reply, Reply> {
        let wanted = |entry: &Entry| match rest {
            [id] => entry.public.id.to_string() == *id,
            _ => ask.param("agentName").is_none_or(|name| entry.public.name == name),
        };
        let found: Vec<_> =
            self.runners.of(scope).filter(|entry| wanted(entry)).map(|entry| entry.public.clone()).collect();
        let object = |runner: &Runner| json!({"id": runner.id, "name": runner.name, "runnerScaleSetId": runner.scale_set.unwrap_or(0)});
        if rest.is_empty() && method == "GET" {
            return Ok(list(found.iter().map(object)));
        }
        let Some(runner) = found.first().filter(|_| rest.len() == 1) else {
            return Err(failure(404, "AgentNotFoundException", "no agent of this id"));
        };
        match method {
            "GET" => Ok(Reply::json(200, &object(runner))),
            "DELETE" if runner.job.is_some() => {
                let message = format!("runner {} is still running a job", runner.name);
                Err(failure(400, "JobStillRunningException", &message))
            }
            "DELETE" => {
                self.remove_runner(runner.id, RunnerFate::Deleted);
                Ok(Reply::empty(204))
            }
            _ => Err(failure(405, "VssResourceNotFoundException", "no such method")),
        }
    }
}
