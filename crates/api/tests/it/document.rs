//! The OpenAPI document says what the router does.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use crate::common::{raw, serve};
use fireactions_api::Limits;
use fireactions_model::*;
use serde_json::Value;

/// Every route. A new one is written here, too.
const ROUTES: [&str; 48] = [
    "delete /api/v1/images",
    "delete /api/v1/machines/{id}",
    "delete /api/v1/machines/{id}/hold",
    "delete /api/v1/pools/{name}/scale",
    "delete /api/v1/session",
    "get /api/v1/caches",
    "get /api/v1/caches/actions",
    "get /api/v1/config",
    "get /api/v1/doctor",
    "get /api/v1/events",
    "get /api/v1/history",
    "get /api/v1/host",
    "get /api/v1/hosts",
    "get /api/v1/images",
    "get /api/v1/jobs",
    "get /api/v1/jobs/{id}",
    "get /api/v1/jobs/{id}/artifacts/{index}",
    "get /api/v1/jobs/{id}/log",
    "get /api/v1/jobs/{id}/log/events",
    "get /api/v1/jobs/{id}/services/{service}/log",
    "get /api/v1/live",
    "get /api/v1/machines",
    "get /api/v1/machines/{id}",
    "get /api/v1/machines/{id}/console",
    "get /api/v1/machines/{id}/exec",
    "get /api/v1/pools",
    "get /api/v1/pools/{name}",
    "get /api/v1/session",
    "get /api/v1/usage",
    "get /api/v1/session/oidc",
    "get /api/v1/session/oidc/callback",
    "get /api/v1/session/ways",
    "get /api/v1/version",
    "get /healthz",
    "get /metrics",
    "get /readyz",
    "post /api/v1/caches/actions/gc",
    "post /api/v1/caches/sticky/gc",
    "post /api/v1/images/gc",
    "post /api/v1/images/pull",
    "post /api/v1/jobs",
    "post /api/v1/jobs/{id}/cancel",
    "post /api/v1/pools/{name}/pause",
    "post /api/v1/pools/{name}/resume",
    "post /api/v1/session",
    "put /api/v1/host",
    "put /api/v1/machines/{id}/hold",
    "put /api/v1/pools/{name}/scale",
];

async fn document() -> Value {
    let server = serve(Limits::default()).await;
    let request = reqwest::Client::new().get("http://localhost/openapi.json").build().unwrap();
    let (status, body) = raw(&server.socket, request).await;
    assert_eq!(status, 200);
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn every_route_is_described() {
    let document = document().await;
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert(format!("{method} {path}"));
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
        }
    }
    let expected: BTreeSet<String> = ROUTES.iter().map(ToString::to_string).collect();
    assert_eq!(described, expected);
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let document = document().await;
    let mut stack = vec![&document];
    let mut seen = 0;
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    seen += 1;
                    assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to} leads nowhere");
                }
                stack.extend(map.values());
            }
            Value::Array(items) => stack.extend(items),
            _ => {}
        }
    }
    assert!(seen > 50, "{seen} references");
}

#[tokio::test]
async fn the_model_is_described_field_by_field() {
    let document = document().await;
    // What may be absent is there.
    let job = JobRecord {
        waiting: Some(WaitReason::Turn { pool: PoolName::new("default").unwrap() }),
        autopsy: Some(Autopsy {
            state: MachineState::Busy,
            step: Step::Running,
            vmm: None,
            oom_kills: 0,
            console_tail: String::new(),
        }),
        remote: Some(RemoteJob::new(ForgeName::github(), "acme")),
        ..crate::common::job(JobState::Failed)
    };
    let job = serde_json::to_value(job).unwrap();
    let machine = MachineView {
        held_until: Some(jiff::Timestamp::UNIX_EPOCH),
        hold_secs: Some(3600),
        started: Some(StartMode::Boot),
        unrecorded: Some(Unrecorded { outcome: Outcome::TimedOut, why: "the disk is full".to_owned() }),
        ..crate::common::machine()
    };
    for (schema, value) in [
        ("JobRecord", job),
        ("MachineView", serde_json::to_value(machine).unwrap()),
        ("JobSpec", serde_json::to_value(crate::common::spec()).unwrap()),
    ] {
        let described = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let described: BTreeSet<&String> = described.keys().collect();
        let real: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(described, real, "{schema}");
    }
}

#[test]
fn the_document_in_docs_is_of_this_api() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/openapi.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let served = serde_json::to_value(fireactions_api::server::openapi()).unwrap();
    assert!(kept == served, "docs/reference/openapi.json is stale: run `make doc` and commit it");
}
