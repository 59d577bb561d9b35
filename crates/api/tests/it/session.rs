//! Logins: what a cookie may do, and what a page of somebody else may make a browser do with it. Time is the test's.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::{Fake, machine_id, serve_keys};
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use fireactions_api::*;
use fireactions_testkit::written::Written;
use futures::StreamExt as _;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const VIEWER: &str = "viewer-0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef";

fn keys() -> Vec<Key> {
    let key = |name: &str, role, token| Key { name: name.into(), role, token: Token::new(token).unwrap() };
    vec![key("anna", Role::Admin, ADMIN), key("vera", Role::Viewer, VIEWER)]
}

fn server(keys: Vec<Key>) -> Api {
    Api::new(Fake::new(), Limits::default()).with_keys(keys, None)
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// One request at a listener of `auth`. The first words are method and path, then come headers and a body.
pub(crate) async fn ask(
    api: &Api,
    auth: Auth,
    what: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let (method, path) = what.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path).header("host", "ci.example");
    for (name, value) in headers {
        if *name == "host" {
            request.headers_mut().unwrap().remove("host");
        }
        request = request.header(*name, *value);
    }
    request = request.extension(match auth {
        Auth::Socket => Peer::Local { uid: Some(33) },
        _ => Peer::Remote("198.51.100.7:1234".parse().unwrap()),
    });
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let router = TowerToHyperService::new(api.router(auth));
    let answer = router.call(request.header("content-type", "application/json").body(body).unwrap());
    let answer = answer.await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() }
}

async fn log_in(api: &Api, auth: Auth, token: &str, headers: &[(&str, &str)]) -> Answer {
    ask(api, auth, "POST /api/v1/session", headers, Some(json!({"token": token}))).await
}

/// Name and value of the cookie that an answer sets.
fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 204, "{}", answer.body);
    let set = answer.headers["set-cookie"].to_str().unwrap();
    set.split(';').next().unwrap().to_owned()
}

async fn session(api: &Api, auth: Auth, headers: &[(&str, &str)]) -> Result<Session, u16> {
    let answer = ask(api, auth, "GET /api/v1/session", headers, None).await;
    if answer.status == 200 { Ok(serde_json::from_str(&answer.body).unwrap()) } else { Err(answer.status) }
}

#[tokio::test(start_paused = true)]
async fn a_login_is_its_token_until_somebody_logs_out() {
    let api = server(keys());
    assert_eq!(session(&api, Auth::Token, &[]).await, Err(401));
    let answer = log_in(&api, Auth::Token, VIEWER, &[]).await;
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(set.ends_with("; HttpOnly; SameSite=Strict; Path=/") && !set.contains(VIEWER), "{set}");
    let cookie = cookie(&answer);
    let with = [("cookie", cookie.as_str()), ("origin", "http://ci.example")];
    let who = Session { name: "vera".into(), role: Role::Viewer, via: Via::Cookie, login: true };
    assert_eq!(session(&api, Auth::Token, &with).await, Ok(who.clone()));
    let by_token = [("authorization", &*format!("Bearer {VIEWER}"))];
    assert_eq!(
        session(&api, Auth::Token, &by_token).await,
        Ok(Session { via: Via::Token, ..who }),
        "whoever has the token needs no login"
    );
    assert_eq!(ask(&api, Auth::Token, "GET /api/v1/pools", &with, None).await.status, 200);
    let pause = ask(&api, Auth::Token, "POST /api/v1/pools/default/pause", &with, None).await;
    assert_eq!(pause.status, 403, "a viewer's login is a viewer's");
    let out = ask(&api, Auth::Token, "DELETE /api/v1/session", &with, None).await;
    assert_eq!(out.status, 204);
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("=; ") && out.body.is_empty());
    assert_eq!(session(&api, Auth::Token, &with).await, Err(401));
}

#[tokio::test(start_paused = true)]
async fn what_a_login_changes_comes_from_the_servers_own_page() {
    let api = server(keys());
    let cookie = cookie(&log_in(&api, Auth::Token, ADMIN, &[("origin", "http://ci.example")]).await);
    let pause = async |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str())];
        all.extend(headers);
        ask(&api, Auth::Token, "POST /api/v1/pools/default/pause", &all, None).await.status
    };
    assert_eq!(pause(&[("origin", "http://ci.example")]).await, 200);
    assert_eq!(pause(&[("origin", "https://page.example"), ("x-forwarded-host", "page.example")]).await, 200);
    assert_eq!(pause(&[]).await, 403, "a form of somewhere need not say where it is");
    for foreign in ["http://evil.example", "null", "http://ci.example:81", "https://ci.example.evil.example"]
    {
        assert_eq!(pause(&[("origin", foreign)]).await, 403, "{foreign}");
    }
    let token = format!("Bearer {ADMIN}");
    let program = [("authorization", token.as_str()), ("origin", "http://evil.example")];
    let by_token = ask(&api, Auth::Token, "POST /api/v1/pools/default/pause", &program, None).await;
    assert_eq!(by_token.status, 200, "no page has a token that its user did not give it");
    let foreign = log_in(&api, Auth::Token, ADMIN, &[("origin", "http://evil.example")]).await;
    assert_eq!((foreign.status, foreign.headers.get("set-cookie")), (403, None));
}

/// Somebody who has logged in at a real server as an administrator: a client, and the cookie.
async fn browser(url: &str) -> (reqwest::Client, String) {
    let http = reqwest::Client::builder().http1_only().build().unwrap();
    let login = http.post(format!("{url}/api/v1/session")).json(&json!({"token": ADMIN}));
    let answer = login.send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    (http, cookie)
}

#[tokio::test]
async fn a_shell_needs_the_servers_own_page_too() {
    let (_api, url) = serve_keys(keys()).await;
    let (http, cookie) = browser(&url).await;
    let upgrade = async |origin: Option<&str>| {
        let mut ask = http
            .get(format!("{url}/api/v1/machines/{}/exec", machine_id()))
            .header("cookie", &cookie)
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if let Some(origin) = origin {
            ask = ask.header("origin", origin);
        }
        ask.send().await.unwrap().status().as_u16()
    };
    assert_eq!(upgrade(Some(&url)).await, 101);
    assert_eq!(upgrade(Some("http://evil.example")).await, 403);
    assert_eq!(upgrade(None).await, 403);
}

#[tokio::test]
async fn what_goes_on_with_a_login_ends_with_it() {
    let (_api, url) = serve_keys(keys()).await;
    let (http, cookie) = browser(&url).await;
    let live = http.get(format!("{url}/api/v1/live")).header("cookie", &cookie).send();
    let mut live = live.await.unwrap();
    assert!(live.chunk().await.unwrap().is_some(), "the snapshot");
    let mut shell = format!("{}/api/v1/machines/{}/exec", url.replace("http", "ws"), machine_id())
        .into_client_request()
        .unwrap();
    for (name, value) in [("cookie", &cookie), ("origin", &url)] {
        shell.headers_mut().insert(name, value.parse().unwrap());
    }
    let (mut shell, _) = tokio_tungstenite::connect_async(shell).await.unwrap();
    let out = http.delete(format!("{url}/api/v1/session")).header("cookie", &cookie).header("origin", &url);
    assert_eq!(out.send().await.unwrap().status(), 204);
    let end = async {
        while let Ok(Some(_)) = live.chunk().await {}
        let mut last = Vec::new();
        while let Some(Ok(message)) = shell.next().await {
            if message.is_binary() {
                last = message.into_data().to_vec();
            }
        }
        String::from_utf8_lossy(&last).into_owned()
    };
    let last = tokio::time::timeout(Duration::from_secs(20), end).await.expect("both end");
    assert!(last.contains("the login has ended"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn strangers_learn_nothing_about_tokens_and_get_little_room() {
    let api = server(keys());
    let status = async |what: &str| ask(&api, Auth::Token, what, &[], None).await.status;
    for path in ["/healthz", "/readyz", "/"] {
        let with = |token: &str| format!("GET {path}?x={token}");
        let (right, wrong) = (status(&with(VIEWER)).await, status(&with("made-up-0123456789")).await);
        assert_eq!(right, wrong, "{path}");
        assert_eq!(status(&format!("GET {path}?token=made-up-0123456789")).await, 400, "{path}");
    }
    assert_eq!(status(&format!("GET /api/v1/jobs?x={VIEWER}")).await, 401);
    let known = [("authorization", &*format!("Bearer {ADMIN}"))];
    let given = ask(&api, Auth::Token, &format!("GET /api/v1/jobs?x={VIEWER}"), &known, None).await;
    assert_eq!(given.status, 400, "who is known is told");
    let long = log_in(&api, Auth::Token, &"x".repeat(5000), &[]).await;
    assert_eq!(long.status, 413, "{}", long.body);
}

#[tokio::test(start_paused = true)]
async fn guessing_is_slowed_for_those_who_guess() {
    let api = server(keys());
    let guess = async |number: u32, proxy: &str| {
        let guess = format!("a-guess-of-a-token-{number}");
        log_in(&api, Auth::Socket, &guess, &[("x-forwarded-for", proxy)]).await
    };
    let mut slowed = 0;
    for number in 0..100 {
        // Whom the client says it speaks for is not what the proxy has seen.
        let answer = guess(number, &format!("10.0.0.{number}, 203.0.113.9")).await;
        match answer.status {
            401 => assert!(slowed == 0, "one got through after {number}"),
            429 => {
                slowed += 1;
                let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
                assert!((1..=301).contains(&wait), "{wait}");
                assert!(answer.body.contains("\"too_many\""), "{}", answer.body);
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(slowed, 96);
    let right = [("x-forwarded-for", "203.0.113.9")];
    assert_eq!(log_in(&api, Auth::Socket, ADMIN, &right).await.status, 429, "nor is a right one looked at");
    let other = [("x-forwarded-for", "203.0.113.10")];
    assert_eq!(log_in(&api, Auth::Socket, ADMIN, &other).await.status, 204, "others do not wait");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(log_in(&api, Auth::Socket, ADMIN, &right).await.status, 204);
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_passes_on_to_the_unix_socket_needs_a_login() {
    let api = server(keys());
    let local = Session { name: "socket".into(), role: Role::Admin, via: Via::Socket, login: false };
    let here = ("host", "localhost");
    assert_eq!(session(&api, Auth::Socket, &[here]).await, Ok(local.clone()));
    let shown = |token: &str| format!("Bearer {token}");
    let by_token = session(&api, Auth::Socket, &[here, ("authorization", &shown(VIEWER))]).await.unwrap();
    assert_eq!(
        (by_token.role, by_token.via),
        (Role::Viewer, Via::Token),
        "whoever shows a token is known by it"
    );
    assert_eq!(
        session(&api, Auth::Socket, &[here, ("authorization", &shown("made-up-0123456789"))]).await,
        Err(401)
    );
    let no_tokens = server(Vec::new());
    assert_eq!(
        session(&no_tokens, Auth::Socket, &[here, ("authorization", &shown(VIEWER))]).await,
        Ok(local)
    );
    assert_eq!(
        session(&api, Auth::Socket, &[("host", "ci.example")]).await,
        Err(401),
        "a proxy that says nothing"
    );
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("origin", "https://ci.example"),
        ("sec-fetch-site", "same-origin"),
        ("cookie", "fireactions_session_0=made-up"),
    ] {
        assert_eq!(session(&api, Auth::Socket, &[here, (name, value)]).await, Err(401), "{name}");
    }
    let tls = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("origin", "https://ci.example"),
    ];
    let answer = log_in(&api, Auth::Socket, VIEWER, &tls).await;
    assert!(answer.headers["set-cookie"].to_str().unwrap().ends_with("; Path=/; Secure"));
    let cookie = cookie(&answer);
    let with = [("cookie", cookie.as_str())];
    assert_eq!(session(&api, Auth::Socket, &with).await.unwrap().name, "vera");
    assert_eq!(session(&api, Auth::Token, &with).await.unwrap().name, "vera", "at every address alike");
    let none = server(Vec::new());
    let refused =
        ask(&none, Auth::Socket, "GET /api/v1/pools", &[("x-forwarded-for", "203.0.113.9")], None).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("api_tokens"), "{}", refused.body);
    assert_eq!(log_in(&none, Auth::Socket, ADMIN, &tls).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn at_loopback_without_tokens_the_own_page_may_write_and_no_other() {
    let api = server(Vec::new());
    let pause = async |headers: &[(&str, &str)]| {
        ask(&api, Auth::Loopback, "POST /api/v1/pools/default/pause", headers, None).await.status
    };
    let here = ("host", "localhost:8080");
    assert_eq!(pause(&[here, ("origin", "http://localhost:8080")]).await, 200);
    assert_eq!(pause(&[here, ("origin", "http://localhost:3000")]).await, 403);
    let rebound = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(pause(&rebound).await, 403, "a name that leads here is not this host");
    for name in ["via", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-prefix"] {
        assert_eq!(pause(&[here, (name, "x")]).await, 403, "{name}: a proxy of this host passed it on");
    }
    let open = session(&api, Auth::Loopback, &[here]).await.unwrap();
    assert_eq!((open.via, open.login), (Via::Open, false));
}

#[tokio::test(start_paused = true)]
async fn logins_are_in_the_audit_log_and_no_token_or_cookie_is() {
    let written = Written::default();
    let writer = written.clone();
    let log = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _log = tracing::subscriber::set_default(log);
    let api = server(keys());
    log_in(&api, Auth::Token, "a-guess-of-a-token-1", &[]).await;
    let cookie = cookie(&log_in(&api, Auth::Token, ADMIN, &[]).await);
    let with = [("cookie", cookie.as_str()), ("origin", "http://ci.example")];
    let pause = async |headers: &[(&str, &str)], query: &str| {
        ask(&api, Auth::Token, &format!("POST /api/v1/pools/default/pause{query}"), headers, None).await;
    };
    pause(&with, "").await;
    pause(&[("authorization", "Bearer a-guess-of-a-token-2")], "").await;
    pause(&[with[0], ("origin", "http://evil.example")], "").await;
    pause(&with, &format!("?x={VIEWER}")).await;
    ask(&api, Auth::Token, "DELETE /api/v1/session", &with, None).await;
    let text = String::from_utf8(written.bytes()).unwrap();
    let secret = cookie.split_once('=').unwrap().1;
    assert!(
        !text.contains("0123456789abcdef") && !text.contains("a-guess") && !text.contains(secret),
        "{text}"
    );
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let said: Vec<_> = lines
        .filter(|line| line["target"] == "audit")
        .map(|line| {
            let field = |name: &str| line["fields"][name].to_string().trim_matches('"').to_owned();
            assert_eq!(field("from"), "198.51.100.7:1234");
            [field("who"), field("role"), field("path"), field("status")].join(" ")
        })
        .collect();
    let expected = [
        "unknown none /api/v1/session 401",
        "anna admin /api/v1/session 204",
        "anna admin /api/v1/pools/default/pause 200",
        "unknown none /api/v1/pools/default/pause 401",
        "unknown none /api/v1/pools/default/pause 403",
        "anna admin /api/v1/pools/default/pause 400",
        "anna admin /api/v1/session 204",
    ];
    assert_eq!(said, expected);
}
