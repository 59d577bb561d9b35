//! `…/actions/runners`.

use serde_json::{Value, json};

use crate::http::{Ask, Reply, random};

use super::super::known::accounts::Owner;
use super::super::known::runners::{Entry, RunnerFate};
use super::super::reply;
use super::super::runners::{NewRunner, Presence};
use super::super::state::State;

/// `…/registration-token`: the same one each time.
pub(super) fn token(state: &mut State, owner: Owner) -> Reply {
    let token = state.accounts.registration.entry(owner).or_insert_with(|| random(40));
    reply::json(200, &json!({"token": token}))
}

pub(super) fn list(state: &State, ask: &Ask, owner: Owner) -> Reply {
    let page = state.page(ask);
    let found =
        if state.release.is_gitea() { of_gitea(state, ask, owner) } else { of_forgejo(state, ask, owner) };
    let total = found.len();
    let shown: Vec<Value> = page.cut(found).into_iter().map(|runner| state.runner(runner)).collect();
    if state.release.is_gitea() {
        return reply::json(200, &json!({"runners": shown, "total_count": total}));
    }
    state.paged(ask, page, total, &Value::from(shown))
}

/// Of the whole server all of them; who was seen last comes first. Those seen at the same time come as the database finds
/// them.
fn of_gitea<'a>(state: &'a State, ask: &Ask, owner: Owner) -> Vec<&'a Entry> {
    let disabled = ask.param("disabled").and_then(|text| text.parse::<bool>().ok());
    let fits = |runner: &&Entry| {
        (owner == Owner::default() || runner.owner == owner)
            && disabled.is_none_or(|disabled| runner.public.disabled == disabled)
    };
    let mut found: Vec<&Entry> = state.runners.registered().filter(fits).collect();
    if owner == Owner::default() {
        found.reverse();
    }
    found.sort_by_key(|runner| std::cmp::Reverse(runner.online));
    found
}

/// Its own alone; with `visible` those that serve it as well.
fn of_forgejo<'a>(state: &'a State, ask: &Ask, owner: Owner) -> Vec<&'a Entry> {
    let visible = ask.param("visible") == Some("true");
    let above = match owner {
        Owner { owner: 0, repository: 0 } => vec![],
        Owner { owner: 0, repository } => {
            vec![
                Owner { owner: state.accounts.repository(repository).owner, repository: 0 },
                Owner::default(),
            ]
        }
        _ => vec![Owner::default()],
    };
    let places = std::iter::once(owner).chain(above.into_iter().filter(|_| visible));
    let of = |place: Owner| state.runners.registered().filter(move |runner| runner.owner == place);
    let mut found: Vec<&Entry> = places.flat_map(of).collect();
    found.sort_by_key(|runner| std::cmp::Reverse(runner.online));
    found
}

pub(super) fn get(state: &State, owner: Owner, id: &str) -> Reply {
    match find(state, owner, id, "get") {
        Ok(runner) => reply::json(200, &state.runner(runner)),
        Err(refused) => refused,
    }
}

pub(super) fn delete(state: &mut State, owner: Owner, id: &str) -> Reply {
    match find(state, owner, id, "delete").map(|runner| runner.public.id) {
        Ok(id) => {
            state.remove_runner(id, RunnerFate::DeletedByApi);
            Reply::empty(204)
        }
        Err(refused) => refused,
    }
}

pub(super) fn patch(state: &mut State, ask: &Ask, owner: Owner, id: &str) -> Reply {
    let id = match find(state, owner, id, "change") {
        Ok(runner) => runner.public.id,
        Err(refused) => return refused,
    };
    let Some(disabled) = ask.json().and_then(|body| body["disabled"].as_bool()) else {
        return state.refusal(422, "[Disabled]: Required");
    };
    let entry = state.runners.entries.get_mut(&id).expect("runners stay");
    entry.public.disabled = disabled;
    state.touch();
    reply::json(200, &state.runner(&state.runners.entries[&id]))
}

/// Forgejo's registration.
pub(super) fn register(state: &mut State, ask: &Ask, owner: Owner) -> Reply {
    let body = ask.json().unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    if text("name").is_empty() {
        return state.refusal(422, "[Name]: Required");
    }
    let ephemeral = body["ephemeral"].as_bool().unwrap_or_default();
    let new =
        NewRunner { name: text("name"), description: text("description"), ephemeral, ..NewRunner::default() };
    let id = state.add_runner(owner, new);
    let runner = &state.runners.entries[&id];
    reply::json(201, &json!({"id": id, "uuid": runner.public.uuid, "token": runner.token}))
}

/// The runner, where it is its owner who asks.
fn find<'a>(state: &'a State, owner: Owner, id: &str, verb: &str) -> Result<&'a Entry, Reply> {
    // What is no number is the runner 0.
    let id = id.parse::<u64>().unwrap_or(0);
    let Some(runner) = state.runners.get(id) else {
        return Err(gone(state, id, verb));
    };
    if owner == Owner::default() || runner.owner == owner {
        return Ok(runner);
    }
    let is_one_word = state.release.disables_runners();
    let words = format!("No permission to {} this runner", if is_one_word { "access" } else { verb });
    Err(state.not_found(&words))
}

fn gone(state: &State, id: u64, verb: &str) -> Reply {
    if !state.release.is_gitea() {
        return state.refusal(404, &format!("runner with ID {id}: resource does not exist"));
    }
    let missing = format!("runner with id {id}: resource does not exist");
    match (state.release.fails_on_gone_runners(), verb) {
        (false, _) => state.not_found("Runner not found"),
        (true, "delete") => state.refusal(500, &missing),
        (true, _) => state.not_found_for("The target couldn't be found.", &json!([missing])),
    }
}

impl State {
    fn runner(&self, runner: &Entry) -> Value {
        if !self.release.is_gitea() {
            return self.forgejo_runner(runner);
        }
        let presence = self.presence(runner);
        let label = |(at, name): (usize, &String)| json!({"id": at, "name": name, "type": "custom"});
        let mut object = json!({
            "id": runner.public.id,
            "name": runner.public.name,
            "status": if presence == Presence::Offline { "offline" } else { "online" },
            "busy": presence == Presence::Active,
            "ephemeral": runner.public.ephemeral,
            "labels": runner.public.labels.iter().enumerate().map(label).collect::<Vec<_>>(),
        });
        if self.release.disables_runners() {
            object["disabled"] = runner.public.disabled.into();
        }
        object
    }
}
