//! What the router refuses, and in what words.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::{TOKEN, job_id, raw, serve, serve_tcp};
use fireactions_api::*;
use fireactions_model::JobId;
use reqwest::{Method, Request, RequestBuilder};
use serde_json::{Value, json};

fn request(method: Method, path: &str) -> RequestBuilder {
    reqwest::Client::new().request(method, format!("http://localhost{path}"))
}

fn build(builder: RequestBuilder) -> Request {
    builder.build().unwrap()
}

/// The error's code and message, after checking that it has the one shape.
fn fault((status, body): (u16, String)) -> (u16, String, String) {
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("not JSON: {body}"));
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    assert!(!text("message").is_empty(), "{body}");
    (status, text("code"), text("message"))
}

#[tokio::test]
async fn an_unknown_job_is_a_404_with_a_hint() {
    let server = serve(Limits::default()).await;
    let error = server.client.job(&JobId::from_random([9; 8])).await.unwrap_err();
    assert_eq!(error.hint().as_deref(), Some("`fireactions jobs list` lists them"));
    let ClientError::Refused(fault) = error else { panic!("{error:?}") };
    assert_eq!(fault.code, Code::NotFound);
}

#[tokio::test]
async fn nonsense_has_the_one_error_shape() {
    let server = serve(Limits::default()).await;
    let json = |method, path: &str, body: &str| {
        build(request(method, path).header("content-type", "application/json").body(body.to_owned()))
    };
    let plain = |method, path: &str| build(request(method, path));
    let cases = [
        (plain(Method::GET, "/nowhere"), 404, "not_found"),
        (plain(Method::DELETE, "/api/v1/jobs"), 405, "invalid"),
        (plain(Method::POST, "/api/v1/pools/default/scale"), 405, "invalid"),
        (plain(Method::POST, "/healthz"), 405, "invalid"),
        (plain(Method::GET, "/api/v1/jobs/../../etc"), 404, "not_found"),
        (plain(Method::GET, "/api/v1/jobs/J0"), 400, "invalid"),
        (plain(Method::GET, "/api/v1/jobs?limit=x"), 400, "invalid"),
        (plain(Method::GET, "/api/v1/jobs?stat=failed"), 400, "invalid"),
        (plain(Method::GET, "/api/v1/machines/mmmmmmmmmmm/exec"), 400, "invalid"),
        (json(Method::POST, "/api/v1/jobs", "{"), 400, "invalid"),
        (json(Method::POST, "/api/v1/jobs", "{}"), 400, "invalid"),
        (json(Method::POST, "/api/v1/jobs", r#"{"program":{"command":{"argv":[]}}}"#), 400, "invalid"),
        (json(Method::POST, "/api/v1/jobs", r#"{"program":{"image":{"args":[]}},"wat":1}"#), 400, "invalid"),
        (json(Method::PUT, "/api/v1/pools/default/scale", r#"{"mim":1}"#), 400, "invalid"),
    ];
    for (request, status, code) in cases {
        let shown = format!("{} {}", request.method(), request.url());
        let got = fault(raw(&server.socket, request).await);
        assert_eq!((got.0, got.1.as_str()), (status, code), "{shown}: {}", got.2);
    }
}

#[tokio::test]
async fn specifications_are_within_bounds() {
    let server = serve(Limits::default()).await;
    let good = json!({"program": {"command": {"argv": ["true"]}}});
    let cases = [
        (json!({"env": [["A=B", ""]]}), "env[0]: 'A=B' is not a variable name"),
        (json!({"env": [["A", "\0"]]}), "NUL"),
        (json!({"artifacts": ["etc"]}), "artifacts[0]: 'etc' is not an absolute path"),
        (json!({"artifacts": ["/a/../b"]}), "holds '..'"),
        (
            json!({"files": [{"dest": "/a", "mode": 4096, "size": 0}]}),
            "files[0].mode: 0o10000 is not the mode of a file, a directory or a symbolic link",
        ),
        (json!({"files": [{"dest": "/a", "mode": 420, "size": 1}]}), "no bytes for them"),
        (json!({"vcpus": 0}), "vcpus: 0 is out of range"),
        (json!({"timeout_secs": 0}), "timeout_secs: 0 is out of range"),
        (json!({"name": "a\u{1b}[2J"}), "control characters"),
        (json!({"env": vec![["A", "b"]; 1001]}), "env: 1001 are too many, at most 1000 are taken"),
        (json!({"artifacts": vec!["x"; 6]}), "; and 1 more"),
        (json!({"program": {"command": {"argv": [""]}}}), "empty"),
        (json!({"program": {"script": {"text": "\0"}}}), "NUL"),
    ];
    for (change, says) in cases {
        let mut spec = good.clone();
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let got = fault(raw(&server.socket, build(request(Method::POST, "/api/v1/jobs").json(&spec))).await);
        assert_eq!((got.0, got.1.as_str()), (400, "invalid"), "{spec}");
        assert!(got.2.contains(says), "{spec}: {}", got.2);
    }
    assert!(server.fake.submitted.lock().unwrap().is_empty());
}

fn upload(spec: &Value, files: &[u8]) -> Request {
    let mut body = spec.to_string().into_bytes();
    body.push(b'\n');
    body.extend_from_slice(files);
    build(request(Method::POST, "/api/v1/jobs").header("content-type", JOB_WITH_FILES).body(body))
}

#[tokio::test]
async fn uploads_are_judged_before_and_while_they_are_read() {
    let server = serve(Limits { body: 4096, upload: 100, ..Limits::default() }).await;
    let spec = |size: u64| json!({"program": {"command": {"argv": ["true"]}}, "files": [{"dest": "/f", "mode": 420, "size": size}]});
    let large = json!({"program": {"script": {"text": "x".repeat(5000)}}});
    let endless = build(
        request(Method::POST, "/api/v1/jobs").header("content-type", JOB_WITH_FILES).body("x".repeat(10_000)),
    );
    let cases = [
        (upload(&spec(3), b"abc"), 201, ""),
        (upload(&spec(101), &[0; 101]), 413, "too_large"),
        (upload(&spec(u64::MAX), b"abc"), 413, "too_large"),
        (upload(&spec(3), b"ab"), 400, "invalid"),
        (upload(&spec(3), b"abcd"), 400, "invalid"),
        (upload(&large, b""), 413, "too_large"),
        (endless, 413, "too_large"),
        (build(request(Method::POST, "/api/v1/jobs").json(&large)), 413, "too_large"),
    ];
    for (index, (request, status, code)) in cases.into_iter().enumerate() {
        let answer = raw(&server.socket, request).await;
        assert_eq!(answer.0, status, "case {index}: {}", answer.1);
        if !code.is_empty() {
            assert_eq!(fault(answer).1, code, "case {index}");
        }
    }
    assert_eq!(server.fake.spooled(), 0, "nothing is left of what was refused");
    assert_eq!(server.fake.submitted.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_slow_engine_meets_the_deadline() {
    let server = serve(Limits { request: Duration::from_millis(200), ..Limits::default() }).await;
    *server.fake.delay.lock().unwrap() = Duration::from_secs(60);
    let got =
        fault(raw(&server.socket, build(request(Method::GET, &format!("/api/v1/jobs/{}", job_id())))).await);
    assert_eq!((got.0, got.1.as_str()), (504, "timeout"));
}

#[tokio::test]
async fn tcp_wants_the_token_for_all_but_health() {
    let (_api, url) = serve_tcp(Some(TOKEN)).await;
    let http = reqwest::Client::new();
    let get = async |path: &str, auth: Option<&str>| {
        let mut request = http.get(format!("{url}{path}"));
        if let Some(auth) = auth {
            request = request.header("authorization", auth);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let good = format!("bearer {TOKEN}");
    let wrong = format!("Bearer {TOKEN}0");
    let refused =
        ["/api/v1/jobs", "/metrics", "/openapi.json", "/api/v1/events", "/nowhere"].map(async |path| {
            // At once: each wrong one waits for its answer.
            let all = [None, Some(wrong.as_str()), Some(TOKEN)].map(|auth| get(path, auth));
            assert_eq!(futures::future::join_all(all).await, [401; 3], "{path}");
        });
    futures::future::join_all(refused).await;
    assert_eq!(get("/api/v1/jobs", Some(&good)).await, 200);
    assert_eq!(get("/nowhere", Some(&good)).await, 404);
    assert_eq!(get("/healthz", None).await, 200);
    assert_eq!(get("/readyz", None).await, 503);
    let client = Client::new(Target::Url(url.clone()), Some(TOKEN)).unwrap();
    assert_eq!(client.pools().await.unwrap().len(), 1);
    assert!(!format!("{client:?}").contains(TOKEN), "a token is never shown");
}

#[tokio::test]
async fn loopback_without_a_token_is_closed_to_web_pages() {
    let (_api, url) = serve_tcp(None).await;
    let http = reqwest::Client::new();
    let status = async |name: &str, value: &str| {
        http.get(format!("{url}/api/v1/jobs")).header(name, value).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("x-none", "1").await, 200);
    assert_eq!(status("origin", "http://evil.example").await, 403);
    assert_eq!(status("origin", "null").await, 403);
    assert_eq!(status("origin", "http://127.0.0.1:1").await, 403, "a page of another local program");
    assert_eq!(
        status("x-forwarded-for", "203.0.113.9").await,
        403,
        "whom a proxy speaks for is no local program"
    );
    assert_eq!(status("origin", &url).await, 200, "this server's own page");
    assert_eq!(status("host", "evil.example").await, 403);
    assert_eq!(status("host", "localhost:1234").await, 200);
}

#[tokio::test]
async fn health_is_json_to_who_asks_for_json() {
    let server = serve(Limits::default()).await;
    let ask = async |accept: Option<&str>| {
        let mut ask = request(Method::GET, "/healthz");
        if let Some(accept) = accept {
            ask = ask.header("accept", accept);
        }
        raw(&server.socket, build(ask)).await
    };
    for accept in [None, Some("*/*"), Some("text/html, */*;q=0.1"), Some("application/jsonx")] {
        assert_eq!(ask(accept).await, (200, "ok\n".to_owned()), "{accept:?}");
    }
    for accept in ["application/json", "text/html, Application/JSON;q=0.9"] {
        assert_eq!(ask(Some(accept)).await, (200, r#"{"status":"OK"}"#.to_owned()), "{accept}");
    }
}
