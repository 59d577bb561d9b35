//! Every recorded answer is understood.

use std::collections::BTreeSet;

use axum::response::Response;
use fireactions_gitea::webhook::{Event, Forged, parse, verify};
use fireactions_gitea::{Error, Gitea, JobStatus, Kind, Registered, RunnerId, RunnerStatus, runner_file};
use fireactions_model::Secret;
use serde_json::{Value, json};

use crate::common::{
    by_hand, client, job, registration, reply, scope, serve, serve_version, status, version,
};
use crate::recordings::{Exchange, exchanges, files};

/// As it was recorded; without links, which lead to the recorded server.
fn again(exchange: &Exchange) -> Response {
    let mut response = if exchange.answer.is_null() && exchange.status != 200 {
        status(exchange.status)
    } else {
        reply(exchange.status, &exchange.answer)
    };
    for (name, value) in &exchange.headers {
        if name.eq_ignore_ascii_case("x-total-count") {
            response.headers_mut().insert("x-total-count", value.parse().unwrap());
        }
    }
    response
}

/// The scope in a path: `/api/v1/orgs/acme/actions/…`.
fn place(path: &str) -> Option<(String, String)> {
    let (before, after) = path.strip_prefix("/api/v1/")?.split_once("/actions/").or_else(|| {
        let rest = path.strip_prefix("/api/v1/admin/runners/jobs")?;
        Some(("admin", if rest.is_empty() { "runners/jobs" } else { rest }))
    })?;
    let place = match before {
        "admin" => "instance".to_owned(),
        other => other.to_owned(),
    };
    Some((place, after.to_owned()))
}

/// A client whose server answers the first page so, and has no other.
async fn answering(kind: Kind, exchange: &Exchange) -> Gitea {
    let (recorded, empty) = (exchange.clone(), empty(&exchange.answer));
    let url = serve_version(version(kind), move |asked| match asked.page() {
        1 => again(&recorded),
        _ => reply(200, &empty),
    })
    .await;
    client(kind, &url)
}

fn empty(answer: &Value) -> Value {
    match answer {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                (name.clone(), if value.is_array() { json!([]) } else { value.clone() })
            });
            Value::Object(fields.collect())
        }
        _ => json!([]),
    }
}

fn items<'a>(exchange: &'a Exchange, name: &str) -> &'a [Value] {
    let list = if exchange.answer.is_object() { &exchange.answer[name] } else { &exchange.answer };
    list.as_array().map_or(&[], Vec::as_slice)
}

/// An answer other than success is the error that it should be.
fn assert_refused(exchange: &Exchange, error: &Error) {
    let said = exchange.answer["message"].as_str().unwrap_or_default();
    let fits = match exchange.status {
        401 => matches!(error, Error::Unauthorized { .. }),
        403 => {
            let Error::Forbidden { needs, .. } = error else { panic!("{}: {error}", exchange.file) };
            needs.is_empty() != said.contains("required")
        }
        404 => matches!(error, Error::NotFound { .. }),
        400..=499 => matches!(error, Error::Refused { .. } | Error::Unauthorized { .. }),
        _ => matches!(error, Error::Server { .. } | Error::Unauthorized { .. }),
    };
    assert!(fits, "{} ({}): {error}", exchange.file, exchange.status);
    assert!(said.is_empty() || error.to_string().contains(said), "{}: {error}", exchange.file);
}

async fn runners(kind: Kind, exchange: &Exchange, place: &str) {
    let found = answering(kind, exchange).await.runners(&scope(place)).await;
    if exchange.status != 200 {
        return assert_refused(exchange, &found.unwrap_err());
    }
    let wanted = items(exchange, "runners");
    let found = found.unwrap();
    assert_eq!(found.len(), wanted.len(), "{}", exchange.file);
    for wanted in wanted {
        let found = found.iter().find(|runner| wanted["id"] == runner.id.get()).unwrap();
        assert_eq!(
            (json!(found.name), json!(found.ephemeral)),
            (wanted["name"].clone(), wanted["ephemeral"].clone())
        );
        assert_eq!(found.uuid.as_deref(), wanted["uuid"].as_str());
        assert_eq!(found.labels.len(), wanted["labels"].as_array().map_or(0, Vec::len));
        assert!(found.labels.iter().all(|label| !label.contains(':')));
        let offline = wanted["status"] == "offline";
        assert_eq!(found.status == RunnerStatus::Offline, offline, "{}", exchange.file);
        assert_eq!(found.busy, wanted["busy"] == true || wanted["status"] == "active");
    }
}

async fn jobs(kind: Kind, exchange: &Exchange, place: &str) {
    let found = answering(kind, exchange).await.jobs(&scope(place), &[]).await;
    if exchange.status != 200 {
        return assert_refused(exchange, &found.unwrap_err());
    }
    let wanted = items(exchange, "jobs");
    let found = found.unwrap();
    assert_eq!(found.len(), wanted.len(), "{}", exchange.file);
    let mut before = 0;
    for found in &found {
        assert!(found.id.get() > before, "the oldest first");
        before = found.id.get();
        let wanted = wanted.iter().find(|job| job["id"] == before).unwrap();
        assert_job(kind, found, wanted);
    }
}

fn assert_job(kind: Kind, found: &fireactions_gitea::Job, wanted: &Value) {
    assert_eq!(json!(found.name), wanted["name"]);
    let (labels, attempt) = match kind {
        Kind::Gitea => ("labels", "run_attempt"),
        Kind::Forgejo => ("runs_on", "attempt"),
    };
    assert_eq!(
        (json!(found.runs_on), json!(found.attempt)),
        (wanted[labels].clone(), wanted[attempt].clone())
    );
    let status = match wanted["status"].as_str().unwrap() {
        "queued" => JobStatus::Waiting,
        "waiting" if kind == Kind::Forgejo => JobStatus::Waiting,
        "waiting" => JobStatus::Blocked,
        "in_progress" | "running" => JobStatus::Running,
        "completed" => JobStatus::Done,
        other => panic!("{other}"),
    };
    assert_eq!(found.status, status);
    assert_eq!(
        found.conclusion.as_ref().map(fireactions_gitea::Conclusion::as_str),
        wanted["conclusion"].as_str()
    );
    assert_eq!(found.handle.as_deref(), wanted["handle"].as_str());
    assert_eq!(found.runner.map(RunnerId::get), wanted["runner_id"].as_u64());
    assert_eq!(found.runner_name.as_deref(), wanted["runner_name"].as_str());
    assert_eq!(found.task, wanted["task_id"].as_u64().filter(|id| *id != 0));
    if kind == Kind::Gitea {
        assert_eq!(found.repository.as_deref(), Some("acme/app"));
        assert_eq!(
            (found.run_id, found.git_ref.as_deref()),
            (wanted["run_id"].as_u64(), wanted["head_branch"].as_str())
        );
        let set = |name: &str| wanted[name].as_str().filter(|at| !at.starts_with("1970"));
        let told = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string());
        assert_eq!(told(found.created_at).as_deref(), set("created_at"));
        assert_eq!(told(found.started_at).as_deref(), set("started_at"));
        assert_eq!(told(found.completed_at).as_deref(), set("completed_at"));
    }
}

async fn one_job(kind: Kind, exchange: &Exchange, id: u64) {
    let mut known = job("orgs/acme", id);
    known.repository = Some("acme/app".into());
    known.workflow = Some("ci.yml".into());
    let found = answering(kind, exchange).await.job(&known).await.unwrap().unwrap();
    assert_job(kind, &found, &exchange.answer);
}

async fn delete(kind: Kind, exchange: &Exchange, place: &str, id: &str) {
    let Ok(id) = id.parse() else { return };
    let outcome = answering(kind, exchange).await.delete_runner(&scope(place), RunnerId::new(id)).await;
    if exchange.answer["message"].as_str().is_some_and(|said| said.contains("No permission")) {
        assert!(matches!(outcome, Err(Error::Forbidden { .. })), "{}: {outcome:?}", exchange.file);
    } else {
        outcome.unwrap();
    }
}

/// By a registration token, by hand or the scope's, or without.
async fn register(kind: Kind, exchange: &Exchange, place: &str) {
    let rpc = exchange.path.contains("RunnerService");
    let recorded = exchange.clone();
    let registered =
        json!({"runner": {"id": "7", "uuid": "u", "token": "t", "name": "x", "ephemeral": true}});
    let url = serve_version(version(kind), move |asked| {
        if asked.path.contains("RunnerService") && !rpc { reply(200, &registered) } else { again(&recorded) }
    })
    .await;
    let client = if rpc { by_hand(kind, &url) } else { client(kind, &url) };
    let outcome = client.register(&scope(place), &registration()).await;
    if !matches!(exchange.status, 200 | 201) {
        return assert_refused(exchange, &outcome.unwrap_err());
    }
    let registered = outcome.unwrap();
    let wanted = if rpc { &exchange.answer["runner"] } else { &exchange.answer };
    if wanted.get("uuid").is_some() {
        assert_eq!(
            (json!(registered.uuid), json!(registered.token.expose())),
            (wanted["uuid"].clone(), wanted["token"].clone())
        );
        let id = wanted["id"].as_u64().or_else(|| wanted["id"].as_str()?.parse().ok());
        assert_eq!(Some(registered.id.get()), id);
    } else {
        assert_eq!((registered.id.get(), registered.ephemeral), (7, true));
    }
}

/// Goes through all answers; returns the kinds of calls that there were answers for.
async fn understand(kind: Kind, all: &[Exchange]) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for exchange in all {
        let method = exchange.method.as_str();
        // Refused for how it was asked, as this client does not.
        if matches!(exchange.status, 405 | 415) {
            continue;
        }
        if exchange.path.ends_with("RunnerService/Register") {
            if exchange.request.is_object() && method == "POST" {
                register(kind, exchange, "orgs/acme").await;
                seen.insert("register by protocol");
            }
            continue;
        }
        if exchange.path == "/api/v1/version" {
            let recorded = exchange.clone();
            let client = client(kind, &serve(move |_| again(&recorded)).await);
            let server = client.server().await.unwrap();
            assert_eq!((server.kind, json!(server.text)), (kind, exchange.answer["version"].clone()));
            seen.insert("version");
            continue;
        }
        let Some((place, what)) = place(&exchange.path) else { continue };
        let parts: Vec<&str> = what.split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", ["runners"]) => {
                runners(kind, exchange, &place).await;
                seen.insert("runners");
            }
            ("GET", ["jobs"]) if kind == Kind::Gitea => {
                jobs(kind, exchange, &place).await;
                seen.insert("jobs");
            }
            ("GET", ["runners", "jobs"]) if kind == Kind::Forgejo => {
                jobs(kind, exchange, &place).await;
                seen.insert("jobs");
            }
            ("GET", ["jobs", id]) if exchange.status == 200 => {
                one_job(kind, exchange, id.parse().unwrap()).await;
                seen.insert("job");
            }
            ("DELETE", ["runners", id]) => {
                delete(kind, exchange, &place, id).await;
                seen.insert("delete");
            }
            ("POST", ["runners", "registration-token"]) if kind == Kind::Gitea => {
                register(kind, exchange, &place).await;
                seen.insert("registration token");
            }
            ("POST", ["runners"]) if kind == Kind::Forgejo => {
                register(kind, exchange, &place).await;
                seen.insert("register");
            }
            _ => {}
        }
    }
    seen
}

#[tokio::test]
async fn of_gitea() {
    let Some(all) = exchanges("of_gitea", Kind::Gitea) else { return };
    let seen = understand(Kind::Gitea, &all).await;
    let wanted =
        ["delete", "job", "jobs", "register by protocol", "registration token", "runners", "version"];
    assert_eq!(seen, BTreeSet::from(wanted));
}

#[tokio::test]
async fn of_forgejo() {
    let Some(all) = exchanges("of_forgejo", Kind::Forgejo) else { return };
    let seen = understand(Kind::Forgejo, &all).await;
    let wanted = ["delete", "jobs", "register", "register by protocol", "runners", "version"];
    assert_eq!(seen, BTreeSet::from(wanted));
}

#[tokio::test]
async fn a_run_tells_workflow_branch_and_user() {
    for (kind, file, id) in
        [(Kind::Gitea, "23-run-get.json", 1_u64), (Kind::Forgejo, "45-after-cancel.json", 5)]
    {
        let Some(all) = exchanges("a_run_tells_workflow_branch_and_user", kind) else { return };
        let run = all
            .iter()
            .find(|one| one.file == file && one.path.ends_with(&format!("/runs/{id}")))
            .unwrap()
            .clone();
        let version = if kind == Kind::Gitea { version(kind) } else { "17.0.0+gitea-1.22.0" };
        let url = serve_version(version, move |asked| {
            if asked.path.contains("/runs/") {
                again(&run)
            } else if kind == Kind::Gitea {
                reply(200, &json!({"id": 1, "run_id": id, "status": "queued"}))
            } else {
                reply(200, &json!({"id": 1, "run_id": id, "status": "waiting", "runs_on": ["a"]}))
            }
        })
        .await;
        let mut known = job("orgs/acme", 1);
        known.repository = Some("acme/app".into());
        let found = client(kind, &url).job(&known).await.unwrap().unwrap();
        let workflow = if kind == Kind::Gitea { "ci.yml" } else { "long.yml" };
        assert_eq!(found.workflow.as_deref(), Some(workflow));
        assert_eq!((found.git_ref.as_deref(), found.actor.as_deref()), (Some("main"), Some("boss")));
    }
}

#[test]
fn deliveries() {
    let Some(files) = files("deliveries", Kind::Gitea) else { return };
    let mut actions = BTreeSet::new();
    let secrets = [Secret::new("a secret")];
    for (file, recorded) in files.iter().filter(|(file, _)| file.contains("-hook-")) {
        let Some(headers) = recorded["request"]["headers"].as_object() else { continue };
        if !headers.contains_key("X-Gitea-Event") {
            continue;
        }
        let header = |name: &str| headers.get(name).and_then(Value::as_str);
        let body = match &recorded["request"]["body"] {
            Value::String(form) => form.clone(),
            json => json.to_string(),
        };
        let (kind, event) = (header("Content-Type").unwrap(), header("X-Gitea-Event").unwrap());
        let signatures = (header("X-Gitea-Signature"), header("X-Hub-Signature-256"));
        let proof = verify(&secrets, kind, body.as_bytes(), signatures.0, signatures.1);
        // Nobody here knows what the real ones were made with, and the bodies are cut.
        let wanted = if file.contains("nosecret") { Forged::Unsigned } else { Forged::Wrong };
        assert_eq!(proof, Err(wanted), "{file}");
        // A form that was cut is none any more.
        let length: usize = header("Content-Length").unwrap().parse().unwrap();
        if recorded["request"]["body"].is_string() && body.len() < length {
            continue;
        }
        let Event::WorkflowJob(event) = parse(event, kind, body.as_bytes()).unwrap() else {
            panic!("{file}")
        };
        assert_eq!(event.job.scope, scope("repos/acme/app"), "{file}");
        assert_eq!((event.organization.as_deref(), event.job.actor.as_deref()), (Some("acme"), Some("boss")));
        let status = match event.action.as_str() {
            "queued" => JobStatus::Waiting,
            "waiting" => JobStatus::Blocked,
            "in_progress" => JobStatus::Running,
            "completed" => JobStatus::Done,
            other => panic!("{other}"),
        };
        assert_eq!((event.job.status, event.job.run_id), (status, Some(1)), "{file}");
        actions.insert(event.action);
    }
    assert_eq!(actions, ["completed", "in_progress", "queued", "waiting"].map(str::to_owned).into());
}

/// What is in a `.runner`, by names.
fn names(file: &str) -> BTreeSet<String> {
    let file: Value = serde_json::from_str(file).unwrap();
    file.as_object().unwrap().keys().filter(|name| *name != "WARNING").cloned().collect()
}

#[test]
fn runners_files() {
    let registered =
        Registered { id: RunnerId::new(13), uuid: "u".into(), token: Secret::new("t"), ephemeral: true };
    let labels = ["ubuntu-24.04:host".to_owned()];
    for (kind, file) in [(Kind::Gitea, "50-actrunner-errors.json"), (Kind::Forgejo, "54-runner-files.json")] {
        let Some(files) = files("runners_files", kind) else { return };
        let (_, recorded) = files.iter().find(|(name, _)| name == file).unwrap();
        let cases = recorded["cases"].as_array().unwrap();
        let real = cases.iter().find_map(|case| case[".runner"].as_str()).unwrap();
        let ours = match kind {
            Kind::Gitea => runner_file::act_runner(&registered, "fa-1", "http://h/git/", &labels, true),
            Kind::Forgejo => runner_file::forgejo_runner(&registered, "fa-1", "http://h/git/", &labels),
        };
        assert_eq!(names(ours.expose()), names(real), "{kind}");
        let ours: Value = serde_json::from_str(ours.expose()).unwrap();
        let wanted = json!({"id": 13, "uuid": "u", "name": "fa-1", "token": "t", "address": "http://h/git/", "labels": labels});
        assert!(wanted.as_object().unwrap().iter().all(|(name, value)| &ours[name] == value), "{ours}");
    }
}
