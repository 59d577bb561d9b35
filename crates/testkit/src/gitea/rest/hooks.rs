//! `POST …/hooks`.

use serde_json::{Value, json};

use crate::http::{Ask, Reply};

use super::super::known::hooks::{Hook, Of};
use super::super::reply;
use super::super::state::{State, written};

/// Events that a hook of Forgejo may have, of those that matter here. The others are dropped without a word.
const OF_FORGEJO: [&str; 4] = ["action_run_failure", "action_run_recover", "action_run_success", "push"];

pub(super) fn create(state: &mut State, ask: &Ask, of: Of) -> Reply {
    let body = ask.json().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let config = &body["config"];
    for (name, value) in [("Type", &body["type"]), ("Config", config)] {
        if value.is_null() {
            return state.refusal(422, &format!("[{name}]: Required"));
        }
    }
    let mut events: Vec<String> = body["events"].as_array().into_iter().flatten().map(text).collect();
    if !state.release.is_gitea() {
        events.retain(|event| OF_FORGEJO.contains(&event.as_str()));
        events.sort();
    }
    let of = match of {
        Of::System if text(&config["is_system_webhook"]) != "true" => Of::Default,
        of => of,
    };
    let hook = Hook {
        id: state.hooks.all.iter().map(|hook| hook.id).max().unwrap_or(0) + 1,
        of,
        url: text(&config["url"]),
        secret: text(&config["secret"]),
        is_form: text(&config["content_type"]) == "form",
        active: body["active"].as_bool().unwrap_or_default(),
        events,
        authorization: text(&body["authorization_header"]),
        branch_filter: text(&body["branch_filter"]),
        kind: text(&body["type"]),
        created: state.now(),
    };
    let reply = reply::json(201, &written_hook(state, &hook));
    state.hooks.all.push(hook);
    state.touch();
    reply
}

fn written_hook(state: &State, hook: &Hook) -> Value {
    let content_type = if hook.is_form { "form" } else { "json" };
    let mut object = json!({
        "id": hook.id,
        "type": hook.kind,
        "branch_filter": hook.branch_filter,
        "config": {"content_type": content_type, "url": hook.url},
        "events": hook.events,
        "authorization_header": hook.authorization,
        "active": hook.active,
        "updated_at": written(Some(hook.created)),
        "created_at": written(Some(hook.created)),
    });
    if state.release.is_gitea() {
        object["name"] = "".into();
    } else {
        object["url"] = hook.url.as_str().into();
        object["content_type"] = content_type.into();
        object["metadata"] = Value::Null;
    }
    object
}
