//! The REST API below `/api/v1`.

mod hooks;
mod jobs;
mod page;
mod routes;
mod runners;

use serde_json::json;

use crate::http::{Ask, Reply, decode};

use super::known::accounts::Owner;
use super::known::hooks::Of;
use super::reply;
use super::state::State;
use routes::{Place, What};

pub(super) const PREFIX: &str = "/api/v1";

/// Answers a request; `path` is what follows [`PREFIX`].
pub(super) fn answer(state: &mut State, ask: &Ask, path: &str) -> Reply {
    let parts: Vec<String> =
        path.trim_start_matches('/').split('/').map(|part| decode(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if parts == ["version"] && ask.method == "GET" {
        return reply::json(200, &json!({"version": state.release.version()}));
    }
    let Some((place, found)) = routes::find(state.release, &parts) else {
        return reply::no_such_page();
    };
    let what = found.into_iter().find(|(_, methods)| methods.contains(&ask.method.as_str()));
    let Some((what, _)) = what else {
        return Reply::empty(405);
    };
    match allowed(state, ask, &place, &what) {
        Ok((owner, doer)) => about(state, ask, owner, doer, what),
        Err(refused) => refused,
    }
}

/// Whose things they are, and who asks: once it is known that they may.
fn allowed(state: &State, ask: &Ask, place: &Place, what: &What) -> Result<(Owner, u64), Reply> {
    let reads = matches!(what, What::Jobs | What::Runs);
    match place {
        Place::Admin => {
            let doer = state.doer(ask, "admin")?;
            state.must_administrate(doer)?;
            Ok((Owner::default(), doer.id))
        }
        Place::User => {
            let doer = state.doer(ask, "user")?;
            Ok((Owner { owner: doer.id, repository: 0 }, doer.id))
        }
        Place::Organization(name) => {
            let doer = state.doer(ask, "organization")?;
            let Some(organization) = state.accounts.organization(name) else {
                let why = format!("user redirect does not exist [name: {name}]");
                return Err(state.not_found_for("GetOrgByName", &json!([why])));
            };
            if *what != What::Itself {
                state.must_own(doer, organization.id, reads)?;
            }
            Ok((Owner { owner: organization.id, repository: 0 }, doer.id))
        }
        Place::RepositoryById(id) => {
            let doer = state.doer(ask, "repository")?;
            let id = id.parse::<u64>().unwrap_or(0);
            if state.accounts.repositories.iter().all(|repository| repository.id != id) {
                return Err(state.not_found("The target couldn't be found."));
            }
            Ok((Owner { owner: 0, repository: id }, doer.id))
        }
        Place::Repository(owner, name) => {
            let doer = state.doer(ask, "repository")?;
            let Some(repository) = state.accounts.repository_named(owner, name) else {
                return Err(state.not_found("The target couldn't be found."));
            };
            if matches!(
                what,
                What::Token | What::Runners | What::Runner(_) | What::Queue | What::Hooks | What::Dispatch(_)
            ) {
                state.must_own_repository(doer, repository.id)?;
            }
            Ok((Owner { owner: 0, repository: repository.id }, doer.id))
        }
    }
}

fn about(state: &mut State, ask: &Ask, owner: Owner, doer: u64, what: What) -> Reply {
    let repository = owner.repository;
    match (what, ask.method.as_str()) {
        (What::Token, _) => runners::token(state, owner),
        (What::Runners, "POST") => runners::register(state, ask, owner),
        (What::Runners, _) => runners::list(state, ask, owner),
        (What::Runner(id), "DELETE") => runners::delete(state, owner, &id),
        (What::Runner(id), "PATCH") => runners::patch(state, ask, owner, &id),
        (What::Runner(id), _) => runners::get(state, owner, &id),
        (What::Queue, _) => jobs::queue(state, ask, owner),
        (What::Jobs, _) => jobs::list(state, ask, owner, None),
        (What::Job(id), _) => jobs::one(state, repository, &id),
        (What::JobLog(id), _) => jobs::log(state, repository, &id),
        (What::Runs, _) => jobs::runs(state, ask, owner),
        (What::Run(id), _) => jobs::run(state, repository, &id),
        (What::RunJobs(id), _) => jobs::jobs_of_run(state, ask, repository, &id),
        (What::Tasks, _) => jobs::tasks(state, ask, repository),
        (What::Dispatch(file), _) => jobs::dispatch(state, ask, repository, &file, doer),
        (What::Hooks, _) => {
            let of = if owner == Owner::default() { Of::System } else { Of::Owner(owner) };
            hooks::create(state, ask, of)
        }
        (What::Cron(name), _) => {
            if name != "stop_zombie_tasks" {
                return state.not_found("The target couldn't be found.");
            }
            state.stop_zombies();
            Reply::empty(204)
        }
        (What::Itself, _) => itself(state, owner, doer),
    }
}

/// The user, organization or repository.
fn itself(state: &State, owner: Owner, doer: u64) -> Reply {
    let object = match owner {
        Owner { owner: 0, repository } => state.repository(state.accounts.repository(repository)),
        Owner { owner, .. } if owner == doer => {
            let account = state.accounts.account(owner);
            let mut object = state.user(account);
            object["is_admin"] = account.site_admin.into();
            object["active"] = true.into();
            object
        }
        Owner { owner, .. } => state.organization(state.accounts.account(owner)),
    };
    reply::json(200, &object)
}
