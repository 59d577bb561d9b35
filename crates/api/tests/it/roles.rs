//! Who may do what: each route with each role, and what is said of it in the log.

use fireactions_api::{HostRequest, Key, Role, Token};
use fireactions_testkit::written::Written;
use reqwest::Method;

use crate::common::{Fake, HIDDEN, job_id, serve_keys, serve_with};

const ROLES: [(Role, &str); 3] = [
    (Role::Viewer, "viewer-0123456789abcdef"),
    (Role::Operator, "operator-0123456789abcdef"),
    (Role::Admin, "admin-0123456789abcdef"),
];

fn keys() -> Vec<Key> {
    let key = |(role, token): (Role, &str)| Key {
        name: format!("a-{role}"),
        role,
        token: Token::new(token).unwrap(),
    };
    ROLES.map(key).into()
}

/// The role that a route needs, as docs/api.md has it. A new route is missing here until somebody has thought about it.
fn needed(method: &str, path: &str) -> Option<Role> {
    Some(match (method, path) {
        (
            "get",
            "/healthz"
            | "/readyz"
            | "/metrics"
            | "/api/v1/doctor"
            | "/api/v1/events"
            | "/api/v1/history"
            | "/api/v1/host"
            | "/api/v1/hosts"
            | "/api/v1/images"
            | "/api/v1/caches"
            | "/api/v1/caches/actions"
            | "/api/v1/jobs"
            | "/api/v1/jobs/{id}"
            | "/api/v1/jobs/{id}/artifacts/{index}"
            | "/api/v1/jobs/{id}/log"
            | "/api/v1/jobs/{id}/log/events"
            | "/api/v1/jobs/{id}/services/{service}/log"
            | "/api/v1/live"
            | "/api/v1/machines"
            | "/api/v1/machines/{id}"
            | "/api/v1/machines/{id}/console"
            | "/api/v1/pools"
            | "/api/v1/pools/{name}"
            | "/api/v1/session"
            | "/api/v1/usage"
            | "/api/v1/session/oidc"
            | "/api/v1/session/oidc/callback"
            | "/api/v1/session/ways"
            | "/api/v1/version",
        )
        | ("post" | "delete", "/api/v1/session") => Role::Viewer,
        ("post", "/api/v1/jobs" | "/api/v1/jobs/{id}/cancel")
        | ("delete", "/api/v1/machines/{id}")
        | ("put" | "delete", "/api/v1/machines/{id}/hold")
        | ("get", "/api/v1/machines/{id}/exec") => Role::Operator,
        (
            "put" | "post" | "delete",
            "/api/v1/caches/actions/gc"
            | "/api/v1/caches/sticky/gc"
            | "/api/v1/host"
            | "/api/v1/images"
            | "/api/v1/images/gc"
            | "/api/v1/images/pull"
            | "/api/v1/pools/{name}/pause"
            | "/api/v1/pools/{name}/resume"
            | "/api/v1/pools/{name}/scale",
        )
        | ("get", "/api/v1/config") => Role::Admin,
        _ => return None,
    })
}

#[tokio::test]
async fn each_route_is_open_to_the_roles_that_need_it() {
    let (_api, url) = serve_keys(keys()).await;
    let http = reqwest::Client::new();
    let document = serde_json::to_value(fireactions_api::server::openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let needed = needed(method, path).unwrap_or_else(|| panic!("who may {method} {path}?"));
            let asked = path
                .replace("{index}", "0")
                .replace("{name}", "default")
                .replace("{id}", if path.contains("jobs") { "j00000000000" } else { "m00000000000" });
            for (role, token) in ROLES {
                let verb = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                // Without a body: the answer may be that it is wrong, but not that this role may not ask.
                let ask = http.request(verb, format!("{url}{asked}")).bearer_auth(token);
                let status = ask.send().await.unwrap().status().as_u16();
                assert_eq!(status == 403, role < needed, "{method} {asked} as {role}: {status}");
            }
        }
    }
    // What is not there is no secret of the administrator's.
    let ask = http.get(format!("{url}/nowhere")).bearer_auth(ROLES[0].1);
    assert_eq!(ask.send().await.unwrap().status().as_u16(), 404);
}

#[tokio::test]
async fn no_answer_has_the_value_of_an_environment_or_what_a_pool_gives_its_guests() {
    let (_api, url) = serve_keys(keys()).await;
    let http = reqwest::Client::new();
    let job = format!("/api/v1/jobs/{}", job_id());
    let log = format!("{job}/log/events");
    for (path, has) in [
        ("/api/v1/jobs", "TOKEN"),
        (job.as_str(), "TOKEN"),
        (&log, "TOKEN"),
        ("/api/v1/pools", "metadata"),
        ("/api/v1/pools/default", "user_data"),
        ("/api/v1/machines", ""),
        ("/metrics", ""),
    ] {
        for (_, token) in ROLES {
            let ask = http.get(format!("{url}{path}")).bearer_auth(token);
            let answer = ask.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{path}");
            let text = answer.text().await.unwrap();
            assert!(text.contains(has) && !text.contains(HIDDEN), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn what_is_changed_is_logged_with_who_and_from_where_and_never_with_a_token() {
    let written = Written::default();
    let writer = written.clone();
    let log = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _log = tracing::subscriber::set_default(log);
    let (_api, url) = serve_keys(keys()).await;
    let http = reqwest::Client::new();
    let pause = format!("{url}/api/v1/pools/default/pause");
    for (_, token) in [ROLES[0], ROLES[2]] {
        http.post(&pause).bearer_auth(token).send().await.unwrap();
        http.get(format!("{url}/api/v1/pools")).bearer_auth(token).send().await.unwrap();
    }
    for query in ["token", "x"] {
        let ask = http.post(format!("{pause}?{query}={}", ROLES[2].1)).bearer_auth(ROLES[2].1);
        let answer = ask.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400, "a token in an address is refused");
        assert!(!answer.text().await.unwrap().contains(ROLES[2].1));
    }
    let text = String::from_utf8(written.bytes()).unwrap();
    let said: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line["target"] == "audit")
        .collect();
    let told = |line: &serde_json::Value| {
        let field = |name: &str| line["fields"][name].as_str().unwrap().to_owned();
        assert!(field("from").starts_with("127.0.0.1:"), "{line}");
        (
            field("who"),
            field("role"),
            field("method"),
            field("path"),
            line["fields"]["status"].as_u64().unwrap(),
        )
    };
    let row = |who: &str, role: &str, status| {
        (who.into(), role.into(), "POST".into(), "/api/v1/pools/default/pause".into(), status)
    };
    let all: Vec<(String, String, String, String, u64)> = said.iter().map(told).collect();
    let expected = [("a-viewer", "viewer", 403), ("a-admin", "admin", 200), ("a-admin", "admin", 400)];
    assert_eq!(all, expected.map(|(who, role, status)| row(who, role, status)), "looking is not logged");
    assert!(!text.contains("0123456789abcdef"), "{text}");
}

/// Another host answers for itself: what the caller may do is what counts, whatever the host that passes it on.
#[tokio::test]
async fn callers_of_other_hosts_have_their_role_and_ask_for_what_is_whole() {
    let server = serve_with(Fake::new(), |api| api).await;
    let door = server.api.host_door();
    let ask = async |method: &str, path: &str, role: Role| {
        let body = (method == "PUT").then(|| r#"{"drained": true}"#.to_owned());
        let (method, path) = (method.to_owned(), path.to_owned());
        let answer =
            door.answer("ci-2", HostRequest { method, path, body, caller: "anna".to_owned(), role }).await;
        (answer.status, answer.body)
    };
    let (status, body) = ask("GET", "/api/v1/jobs?limit=5", Role::Viewer).await;
    assert!(status == 200 && body.starts_with('['), "{status}: {body}");
    let (status, body) = ask("PUT", "/api/v1/host", Role::Operator).await;
    assert!(status == 403 && body.contains("'anna at ci-2' has the role operator"), "{status}: {body}");
    assert_eq!(ask("PUT", "/api/v1/host", Role::Admin).await.0, 200);
    assert_eq!(ask("GET", "/api/v1/nowhere", Role::Viewer).await.0, 404);
    for path in [
        "/api/v1/hosts",
        "/api/v1/hosts/ci-3/jobs",
        "/api/v1/config",
        "/api/v1/session",
        "/api/v1/events",
        "/api/v1/live",
        "/api/v1/machines/m00000000000/exec",
        "/metrics",
        "/api/v1/../metrics",
    ] {
        let (status, body) = ask("GET", path, Role::Admin).await;
        assert!(status == 400 || status == 404, "{path}: {status}: {body}");
    }
}
