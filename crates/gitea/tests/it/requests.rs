//! Every request that the client sends has a recorded twin, or is described.

use std::collections::BTreeSet;

use axum::response::Response;
use fireactions_gitea::{Kind, RunnerId};
use fireactions_testkit::spec::Spec;
use serde_json::{Value, json};

use crate::common::{Asked, Log, by_hand, client, job, registration, reply, scope, serve_version, status};
use crate::recordings::{Exchange, exchanges};

/// In both forges since 2023 (`routers/api/v1/api.go`), and in neither the recordings nor the part of the descriptions that
/// is at hand.
const NEITHER: [&str; 2] = ["/repositories/#", "/@/actions/tasks"];

/// A server of any version, on which everything works.
fn answer(kind: Kind, asked: &Asked) -> Response {
    let path = asked.path.as_str();
    if path.ends_with("RunnerService/Register") {
        return reply(200, &json!({"runner": {"id": "7", "uuid": "u", "token": "t", "ephemeral": true}}));
    }
    if path.ends_with("/registration-token") {
        return reply(200, &json!({"token": "t"}));
    }
    if path.contains("/repositories/") {
        return reply(200, &json!({"full_name": "acme/app"}));
    }
    if path.contains("/runs/") {
        return reply(200, &json!({}));
    }
    if path.ends_with("/actions/tasks") {
        return reply(200, &json!({"workflow_runs": [{"id": 9, "status": "success"}], "total_count": 1}));
    }
    if path.contains("/actions/jobs/") {
        return match kind {
            Kind::Gitea => reply(200, &json!({"id": 1, "run_id": 2, "status": "completed"})),
            Kind::Forgejo => reply(200, &json!({"id": 1, "run_id": 2, "status": "success"})),
        };
    }
    match (asked.method.as_str(), kind) {
        ("DELETE", _) => status(204),
        ("POST", _) if asked.json() == Some(json!({})) => reply(422, &json!({"message": "[Name]: Required"})),
        ("POST", _) => reply(201, &json!({"id": 7, "uuid": "u", "token": "t"})),
        (_, Kind::Gitea) if path.ends_with("/runners") => {
            reply(200, &json!({"runners": [], "total_count": 0}))
        }
        (_, Kind::Gitea) => reply(200, &json!({"jobs": [], "total_count": 0})),
        (_, Kind::Forgejo) => reply(200, &Value::Null),
    }
}

/// Does everything at a server of this version; returns what it was asked.
async fn everything(kind: Kind, version: &'static str) -> Vec<Asked> {
    let log = Log::default();
    let kept = log.clone();
    let url = crate::common::serve(move |asked| {
        kept.add(&asked);
        if asked.path == "/api/v1/version" {
            reply(200, &json!({"version": version}))
        } else {
            answer(kind, &asked)
        }
    })
    .await;
    let client = client(kind, &url);
    for place in ["instance", "user", "orgs/acme", "repos/acme/app"].map(scope) {
        client.register(&place, &registration()).await.unwrap();
        client.runners(&place).await.unwrap();
        client.delete_runner(&place, RunnerId::new(7)).await.unwrap();
        client.jobs(&place, &[vec!["ubuntu-24.04:host".into()]]).await.unwrap();
        assert!(client.access(&place).await.unwrap().is_enough());
        let mut known = job(&place.to_string(), 1);
        (known.repository_id, known.task, known.runs_on) = (Some(1), Some(9), vec!["ubuntu-24.04".into()]);
        if kind == Kind::Gitea {
            known.repository = Some("acme/app".into());
        }
        assert!(client.job(&known).await.unwrap().is_some(), "{place}");
    }
    by_hand(kind, &url).register(&scope("orgs/acme"), &registration()).await.unwrap();
    log.all()
}

/// A path in which all numbers are one and the same, and so are the scopes before `/actions/`.
fn shape(path: &str) -> String {
    let path = path.trim_start_matches("/api/v1");
    let path = match path.split_once("/actions/") {
        Some((scope, rest)) if !path.contains("RunnerService") && !scope.is_empty() => {
            format!("/@/actions/{rest}")
        }
        _ => path.to_owned(),
    };
    let part = |part: &str| if part.parse::<u64>().is_ok() { "#".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn fields(body: Option<&Value>) -> BTreeSet<String> {
    body.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn is_twin(asked: &Asked, recorded: &Exchange) -> bool {
    let names: BTreeSet<String> = asked.query.iter().map(|(name, _)| name.clone()).collect();
    asked.method == recorded.method
        && shape(&asked.path) == shape(&recorded.path)
        && names == recorded.query
        && fields(asked.json().as_ref()) == fields(Some(&recorded.request))
        && !matches!(recorded.status, 405 | 415)
}

fn problems(spec: &Spec, asked: &Asked) -> Vec<String> {
    let Some(path) = asked.path.strip_prefix("/api/v1") else { return vec!["it is not described".into()] };
    let Some(operation) = spec.operation(&asked.method, path) else {
        return vec![format!("{} {path} is not described", asked.method)];
    };
    let mut problems = spec.request_problems(&asked.method, path, asked.json().as_ref());
    problems.extend(spec.query_problems(&operation, &asked.query));
    problems
}

async fn have_twins(test: &str, kind: Kind, version: &'static str, file: &str) {
    let (Some(recorded), Some(spec)) = (exchanges(test, kind), Spec::find(test, file)) else { return };
    let asked = everything(kind, version).await;
    let (mut twins, mut described, mut neither) = (0, 0, BTreeSet::new());
    for asked in &asked {
        let short = shape(&asked.path);
        if recorded.iter().any(|recorded| is_twin(asked, recorded)) {
            twins += 1;
        } else if NEITHER.contains(&short.as_str()) {
            neither.insert(short);
        } else {
            described += 1;
            let problems = problems(&spec, asked);
            assert_eq!(problems, Vec::<String>::new(), "{} {} {:?}", asked.method, asked.path, asked.query);
        }
    }
    assert!(twins > 20, "{twins} of {} requests have twins, {described} are described", asked.len());
}

#[tokio::test]
async fn to_gitea() {
    have_twins("to_gitea", Kind::Gitea, "1.26.0", "gitea.swagger.json").await;
    have_twins("to_gitea", Kind::Gitea, "1.27.0", "gitea-next.swagger.json").await;
}

#[tokio::test]
async fn to_forgejo() {
    have_twins("to_forgejo", Kind::Forgejo, "15.0.3+gitea-1.22.0", "forgejo.swagger.json").await;
    have_twins("to_forgejo", Kind::Forgejo, "17.0.0-dev-609+gitea-1.22.0", "forgejo-next.swagger.json").await;
}

#[tokio::test]
async fn the_token_goes_where_it_belongs() {
    let asked = everything(Kind::Gitea, "1.26.0").await;
    for asked in asked {
        let open = asked.path.contains("RunnerService") || asked.path.ends_with("/version");
        assert_eq!(asked.authorization(), (!open).then_some("token t0p-s3cret"), "{}", asked.path);
        assert!(asked.headers["user-agent"].to_str().unwrap().starts_with("fireactions/"));
        let connect = asked.headers.get("connect-protocol-version").map(|value| value.to_str().unwrap());
        assert_eq!(connect, asked.path.contains("RunnerService").then_some("1"));
    }
}

#[tokio::test]
async fn a_registration_names_labels_without_their_scheme() {
    for asked in everything(Kind::Gitea, "1.26.0").await {
        if asked.path.ends_with("RunnerService/Register") {
            let body = asked.json().unwrap();
            assert_eq!(body["labels"], json!(["ubuntu-24.04", "self"]));
            assert_eq!((&body["ephemeral"], &body["name"]), (&json!(true), &json!("fa-1")));
            assert!(body["token"] == "t" || body["token"] == "by-hand", "{body}");
        }
    }
}

#[tokio::test]
async fn a_path_before_the_api_is_kept() {
    let log = Log::default();
    let kept = log.clone();
    let url = serve_version("1.26.0", move |asked| {
        kept.add(&asked);
        answer(Kind::Gitea, &asked)
    })
    .await;
    let client = client(Kind::Gitea, &format!("{url}/some/git"));
    client.register(&scope("orgs/acme"), &registration()).await.unwrap();
    client.jobs(&scope("orgs/acme"), &[]).await.unwrap();
    let paths: Vec<String> = log.all().into_iter().map(|asked| asked.path).collect();
    assert_eq!(
        paths,
        [
            "/some/git/api/v1/orgs/acme/actions/runners/registration-token",
            "/some/git/api/actions/runner.v1.RunnerService/Register",
            "/some/git/api/v1/orgs/acme/actions/jobs",
        ]
    );
    assert_eq!(client.page().path(), "/some/git/");
}
