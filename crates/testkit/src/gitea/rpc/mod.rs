//! The runner protocol: Connect in JSON, below `/api/actions`. Bodies in protobuf are refused: nobody here has them.

mod codes;
mod message;
mod task;

use serde_json::{Value, json};

use crate::http::{Ask, Reply};

use super::known::accounts::Owner;
use super::reply;
use super::runners::NewRunner;
use super::state::State;
use super::tasks::{Told, result, result_name};
use codes::Code;
use message::{Kind, Message, Shape, compact, number, time};

pub(super) const PREFIX: &str = "/api/actions";

const PING: Shape = ("PingRequest", &[("data", Kind::Text)]);
const REGISTER: Shape = (
    "RegisterRequest",
    &[
        ("name", Kind::Text),
        ("token", Kind::Text),
        ("agentLabels", Kind::Texts),
        ("customLabels", Kind::Texts),
        ("version", Kind::Text),
        ("labels", Kind::Texts),
        ("ephemeral", Kind::Flag),
    ],
);
const DECLARE: Shape = ("DeclareRequest", &[("version", Kind::Text), ("labels", Kind::Texts)]);
const FETCH: Shape = ("FetchTaskRequest", &[("tasksVersion", Kind::Number), ("taskCapacity", Kind::Number)]);
const FETCH_ONE: Shape =
    ("FetchSingleTaskRequest", &[("tasksVersion", Kind::Number), ("handle", Kind::Text)]);
const TASK: Shape = ("UpdateTaskRequest", &[("state", Kind::Object), ("outputs", Kind::Object)]);
const LOG: Shape = (
    "UpdateLogRequest",
    &[("taskId", Kind::Number), ("index", Kind::Number), ("rows", Kind::Objects), ("noMore", Kind::Flag)],
);

/// An error of the server's own.
pub(super) fn failed(status: u16, message: &str) -> Reply {
    codes::error(status, "unknown", message)
}

/// Answers a request; `path` is what follows [`PREFIX`].
pub(super) fn answer(state: &mut State, ask: &Ask, path: &str) -> Reply {
    let shape = match path {
        "/ping.v1.PingService/Ping" => PING,
        "/runner.v1.RunnerService/Register" => REGISTER,
        "/runner.v1.RunnerService/Declare" => DECLARE,
        "/runner.v1.RunnerService/FetchTask" => FETCH,
        "/runner.v1.RunnerService/FetchSingleTask" if state.release.registers_by_rest() => FETCH_ONE,
        "/runner.v1.RunnerService/UpdateTask" => TASK,
        "/runner.v1.RunnerService/UpdateLog" => LOG,
        _ => return reply::no_such_page(),
    };
    if ask.method != "POST" {
        return Reply::empty(405).header("allow", "POST");
    }
    let kind = ask.header("content-type").unwrap_or_default();
    if kind.split(';').next().is_none_or(|kind| kind.trim() != "application/json") {
        return Reply::empty(415).header("accept-post", "application/json");
    }
    let message = match Message::read(shape, &ask.body) {
        Ok(message) => message,
        Err(refused) => return refused,
    };
    let answered = match shape.0 {
        "PingRequest" => Ok(json!({"data": format!("Hello, {}!", message.text("data"))})),
        "RegisterRequest" => register(state, &message),
        _ => known_runner(state, ask, shape).and_then(|runner| match shape.0 {
            "DeclareRequest" => Ok(declare(state, &message, runner)),
            "UpdateTaskRequest" => update_task(state, &message, runner),
            "UpdateLogRequest" => update_log(state, &message, runner),
            _ => Ok(fetch(state, ask, &message, runner)),
        }),
    };
    match answered {
        Ok(body) => {
            let body = body.to_string().into_bytes();
            Reply::empty(200).header("content-type", "application/json").with_body(body)
        }
        Err(refused) => refused,
    }
}

/// The runner that asks. It is online with that, and busy when it tells of its task.
fn known_runner(state: &mut State, ask: &Ask, shape: Shape) -> Result<u64, Reply> {
    let header = |name| ask.header(name).unwrap_or_default();
    let (uuid, token) = (header("x-runner-uuid"), header("x-runner-token"));
    let is_it = |id: &u64| {
        state.runners.get(*id).is_some_and(|runner| runner.public.uuid == uuid && runner.token == token)
    };
    let Some(id) = state.runners.entries.keys().copied().find(is_it) else {
        return Err(state.failure(Code::Unauthenticated, "unregistered runner"));
    };
    let now = state.now().as_second();
    let entry = state.runners.entries.get_mut(&id).expect("runners stay");
    entry.online = now;
    if [TASK.0, LOG.0].contains(&shape.0) {
        entry.active = now;
    }
    state.touch();
    Ok(id)
}

fn register(state: &mut State, message: &Message) -> Result<Value, Reply> {
    if message.text("token").is_empty() || message.text("name").is_empty() {
        return Err(state.plain_failure(Code::InvalidArgument, "missing runner token, name"));
    }
    let given = message.text("token");
    let owner = state.accounts.registration.iter().find(|(_, token)| *token == given);
    let Some(owner) = owner.map(|(owner, _)| *owner) else {
        return Err(state.plain_failure(Code::InvalidArgument, "runner registration token not found"));
    };
    let labels = message.texts(if message.has("labels") { "labels" } else { "agentLabels" });
    let new = NewRunner {
        name: message.text("name").to_owned(),
        labels: Some(labels),
        version: message.text("version").to_owned(),
        ephemeral: message.flag("ephemeral"),
        ..NewRunner::default()
    };
    let id = state.add_runner(owner, new);
    let token = state.runners.entries[&id].token.clone();
    let mut runner = about(state, id);
    runner["token"] = token.into();
    if state.runners.entries[&id].public.ephemeral {
        runner["ephemeral"] = true.into();
    }
    Ok(json!({"runner": runner}))
}

fn about(state: &State, id: u64) -> Value {
    let runner = &state.runners.entries[&id].public;
    compact(json!({
        "id": id.to_string(),
        "uuid": runner.uuid,
        "name": runner.name,
        "version": runner.version,
        "labels": runner.labels,
    }))
}

fn declare(state: &mut State, message: &Message, runner: u64) -> Value {
    let entry = state.runners.entries.get_mut(&runner).expect("runners stay");
    entry.public.labels = message.texts("labels");
    message.text("version").clone_into(&mut entry.public.version);
    entry.labelled = true;
    let is_told = entry.public.ephemeral && !state.release.is_gitea();
    let mut about = about(state, runner);
    if is_told {
        about["ephemeral"] = true.into();
    }
    json!({"runner": about})
}

/// A task at once, or none at once. Who says that they have seen how it stands is not given one.
fn fetch(state: &mut State, ask: &Ask, message: &Message, runner: u64) -> Value {
    let key = ask.header("x-runner-request-key").filter(|_| state.release.registers_by_rest());
    if let Some(task) = key.and_then(|key| state.given_before(runner, key)) {
        return json!({"task": state.task_message(&state.jobs.tasks[&task])});
    }
    let Owner { owner, repository } = state.runners.entries[&runner].owner;
    let version = state.tasks_version(Owner { owner, repository });
    let handle = Some(message.text("handle")).filter(|handle| !handle.is_empty());
    let task = if message.number("tasksVersion") == version { None } else { state.pick(runner, handle, key) };
    let task = task.map(|task| state.task_message(&state.jobs.tasks[&task]));
    compact(json!({"task": task, "tasksVersion": version.to_string()}))
}

/// The task, when the runner has it.
fn own_task(state: &State, id: i64, runner: u64, what: &str) -> Result<u64, Reply> {
    let task = u64::try_from(id).ok().and_then(|id| state.jobs.tasks.get(&id));
    let why = match task {
        Some(task) if task.runner == runner => return Ok(task.id),
        Some(_) => "invalid runner for task".to_owned(),
        None => format!("{what}: task with id {id}: resource does not exist"),
    };
    Err(state.failure(Code::Internal, &why))
}

fn update_task(state: &mut State, message: &Message, runner: u64) -> Result<Value, Reply> {
    let given = message.field("state");
    let task = own_task(state, number(&given["id"]).unwrap_or_default(), runner, "update task")?;
    let step = |step: &Value| {
        let at = usize::try_from(number(&step["id"]).unwrap_or_default()).unwrap_or(usize::MAX);
        (at, (time(&step["startedAt"]), time(&step["stoppedAt"])))
    };
    let outputs = message.field("outputs").as_object().into_iter().flatten();
    let told = Told {
        result: result(given["result"].as_str().unwrap_or_default()),
        stopped: time(&given["stoppedAt"]),
        steps: given["steps"].as_array().into_iter().flatten().map(step).collect(),
        outputs: outputs
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    };
    let (status, outputs) = state.told(task, told);
    let about = compact(json!({"id": task.to_string(), "result": result_name(status)}));
    Ok(compact(json!({"state": about, "sentOutputs": outputs})))
}

fn update_log(state: &mut State, message: &Message, runner: u64) -> Result<Value, Reply> {
    let task = own_task(state, message.number("taskId"), runner, "get task")?;
    let row = |row: &Value| {
        let when = time(&row["time"]).unwrap_or_else(|| state.now());
        (when, row["content"].as_str().unwrap_or_default().to_owned())
    };
    let rows = message.field("rows").as_array().into_iter().flatten().map(row).collect();
    let index = usize::try_from(message.number("index")).unwrap_or_default();
    match state.logged(task, index, rows, message.flag("noMore")) {
        Some(known) => Ok(compact(json!({"ackIndex": known.to_string()}))),
        None => Err(state.failure(Code::AlreadyExists, "log file has been archived")),
    }
}
