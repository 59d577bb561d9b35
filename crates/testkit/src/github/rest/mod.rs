//! The REST API: who asks for what, and the ways to it.

mod apps;
mod jit;
mod page;
mod paths;
mod repositories;
mod runners;
mod runs;

use crate::http::{Ask, Reply, Shared, decode, uuid};

use super::auth::{Need, Who};
use super::contract;
use super::known::accounts::{Scope, ScopeId};
use super::limits;
use super::state::State;

use paths::path_by_id;

/// Where a GitHub Enterprise Server has it.
pub(super) const PREFIX: &str = "/api/v3";

/// Versions of the API that are answered.
const VERSIONS: [&str; 2] = ["2022-11-28", "2026-03-10"];

/// Answers a request and holds both to the description.
pub(super) fn answer(shared: &Shared<State>, ask: &Ask, path: &str) -> Reply {
    let (path, reply) = shared.with(|state| {
        let path = state.canonical(path);
        let reply = state.rest(ask, &path);
        let reply = reply
            .header("date", &state.clock.date())
            .header("x-github-request-id", &uuid())
            .header("x-github-media-type", "github.v3; format=json");
        (path, reply)
    });
    // Outside the lock, for it takes its time.
    let problems = if path == REGISTRATION { Vec::new() } else { contract::exchange(ask, &path, &reply) };
    if !problems.is_empty() {
        shared.with(|state| problems.into_iter().for_each(|problem| state.violation(problem)));
    }
    reply
}

/// Authorised in a way of its own.
const REGISTRATION: &str = "/actions/runner-registration";

impl State {
    /// The path by names, where it is by the ids to which GitHub redirects.
    fn canonical(&self, path: &str) -> String {
        let mut parts = path.splitn(4, '/').skip(1);
        let (kind, id, rest) = (parts.next(), parts.next().and_then(|id| id.parse().ok()), parts.next());
        let scope = match (kind, id) {
            (Some("organizations"), Some(id)) => {
                self.accounts.accounts.iter().find(|known| known.id == id).map(|_| ScopeId::Account(id))
            }
            (Some("repositories"), Some(id)) => self
                .accounts
                .repositories
                .iter()
                .find(|known| known.id == id)
                .map(|_| ScopeId::Repository(id)),
            _ => None,
        };
        match scope {
            Some(scope) => {
                let rest = rest.map_or(String::new(), |rest| format!("/{rest}"));
                format!("{}{rest}", self.accounts.path(scope))
            }
            None => path.to_owned(),
        }
    }

    fn rest(&mut self, ask: &Ask, path: &str) -> Reply {
        if ask.header("user-agent").is_none_or(str::is_empty) {
            let message = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
            return Reply::error(403, message);
        }
        if ask.header("x-github-api-version").is_some_and(|version| !VERSIONS.contains(&version)) {
            return Reply::error(400, "Unsupported 'X-GitHub-Api-Version' header.");
        }
        if path == REGISTRATION {
            return self.register(ask);
        }
        let who = match self.who(ask) {
            Ok(who) => who,
            Err(reply) => return reply,
        };
        let payer = who.payer();
        let free = path == "/rate_limit";
        if let Some(reply) = self.exceeded(&payer).filter(|_| !free) {
            return self.charge(&payer, reply, true);
        }
        if let Some(reply) = self.too_fast(&payer, &ask.method) {
            return reply;
        }
        let parts: Vec<String> = path.split('/').skip(1).map(|part| decode(part, false)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let mut reply = self.route(ask, &who, &parts).unwrap_or_else(|reply| reply);
        if let Who::Person { scopes, .. } = &who {
            reply = reply.header("x-oauth-scopes", &scopes.join(", "));
        }
        self.charge(&payer, limits::tagged(ask, reply), free)
    }

    fn route(&mut self, ask: &Ask, who: &Who, parts: &[&str]) -> Result<Reply, Reply> {
        match (ask.method.as_str(), parts) {
            ("GET", ["rate_limit"]) => Ok(Reply::json(200, &self.rate_limit(&who.payer()))),
            (_, ["app", rest @ ..]) => self.app_routes(ask, who, rest),
            ("GET", ["installation", "repositories"]) => self.installation_repositories(ask, who),
            ("DELETE", ["installation", "token"]) => self.revoke(ask, who),
            (_, ["orgs", login, rest @ ..]) => {
                let scope = self.reach(ask, &Scope::Organization((*login).to_owned()), rest)?;
                self.scoped(ask, who, scope, rest)
            }
            (_, ["repos", owner, name, rest @ ..]) => {
                let scope = self.reach(ask, &Scope::Repository(format!("{owner}/{name}")), rest)?;
                self.scoped(ask, who, scope, rest)
            }
            (_, ["enterprises", slug, rest @ ..]) => {
                let scope = self.reach(ask, &Scope::Enterprise((*slug).to_owned()), rest)?;
                self.scoped(ask, who, scope, rest)
            }
            _ => Err(Reply::error(404, "Not Found")),
        }
    }

    /// The scope; for one that was renamed, where it is now.
    fn reach(&self, ask: &Ask, scope: &Scope, rest: &[&str]) -> Result<ScopeId, Reply> {
        if let Some(found) = self.accounts.find(scope) {
            return Ok(found);
        }
        let moved = match scope {
            Scope::Organization(login) => {
                self.accounts.formerly(login).map(|account| ScopeId::Account(account.id))
            }
            Scope::Repository(full_name) => full_name.split_once('/').and_then(|(owner, name)| {
                let owner = self.accounts.formerly(owner)?.login.clone();
                self.accounts.find(&Scope::Repository(format!("{owner}/{name}")))
            }),
            Scope::Enterprise(_) => None,
        };
        let Some(moved) = moved else { return Err(Reply::error(404, "Not Found")) };
        let rest = rest.iter().fold(String::new(), |text, part| text + "/" + part);
        let query: Vec<String> = ask.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let url = format!("{}{}{rest}{query}", self.api(), path_by_id(moved));
        let body = serde_json::json!({
            "message": "Moved Permanently",
            "url": url,
            "documentation_url": "https://docs.github.com/rest",
        });
        // A change keeps its method: GitHub documents 307 for those.
        let status = if ask.method == "GET" { 301 } else { 307 };
        Err(Reply::json(status, &body).header("location", &url))
    }

    fn scoped(&mut self, ask: &Ask, who: &Who, scope: ScopeId, rest: &[&str]) -> Result<Reply, Reply> {
        let method = ask.method.as_str();
        match (method, rest) {
            ("GET", []) => {
                let ScopeId::Repository(repository) = scope else {
                    return Err(Reply::error(404, "Not Found"));
                };
                self.allow(who, scope, Need::ReadMetadata)?;
                Ok(Reply::json(200, &self.full_repository(self.accounts.repository(repository))))
            }
            ("GET", ["installation"]) => self.installation_of_scope(who, scope),
            ("GET", ["repos"]) => self.organization_repositories(ask, who, scope),
            (_, ["actions", "runners", rest @ ..]) => {
                let need = if method == "GET" { Need::ReadRunners } else { Need::WriteRunners };
                self.allow(who, scope, need)?;
                self.runner_routes(ask, scope, rest)
            }
            ("GET", ["actions", "runner-groups", rest @ ..]) if matches!(scope, ScopeId::Account(_)) => {
                self.allow(who, scope, Need::ReadRunners)?;
                self.group_routes(ask, scope, rest)
            }
            ("GET", ["actions", rest @ ..]) => {
                let ScopeId::Repository(repository) = scope else {
                    return Err(Reply::error(404, "Not Found"));
                };
                self.allow(who, scope, Need::ReadActions)?;
                self.run_routes(ask, repository, rest)
            }
            _ => Err(Reply::error(404, "Not Found")),
        }
    }
}
