//! Servers with troubles of their own: what is tried again, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::response::IntoResponse as _;
use fireactions_gitea::{Error, Gitea, Kind, RunnerId, Timeouts};
use serde_json::{Value, json};

use crate::common::{
    Source, TOKEN, by_hand, client, client_of, registration, reply, scope, scripted, serve, serve_version,
    settings, status, timeouts, version,
};

const LOCKED: &str = "database is locked";

fn registered() -> Value {
    json!({"runner": {"id": "3", "uuid": "u", "token": "t", "name": "fa-1", "ephemeral": true}})
}

/// Counts up to `times`; true while there are some left.
fn first(times: u32) -> impl Fn() -> bool + Send + Sync + 'static {
    let count = AtomicU32::new(0);
    move || count.fetch_add(1, Ordering::Relaxed) < times
}

#[tokio::test]
async fn a_locked_database_is_waited_for_even_to_register() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let (list, rest, rpc) = (first(2), first(2), first(2));
        let client = scripted(kind, move |asked| {
            let rpc_path = asked.path.contains("RunnerService");
            let locked = match asked.method.as_str() {
                "GET" => list(),
                _ if rpc_path => rpc(),
                _ => rest(),
            };
            match (locked, asked.method.as_str()) {
                (true, _) if rpc_path => reply(500, &json!({"code": "unknown", "message": LOCKED})),
                (true, _) => reply(500, &json!({"message": LOCKED, "url": "x"})),
                (false, "GET") => reply(200, &Value::Null),
                (false, _) if rpc_path => reply(200, &registered()),
                (false, _) if kind == Kind::Gitea => reply(200, &json!({"token": "t"})),
                (false, _) => reply(201, &json!({"id": 3, "uuid": "u", "token": "t"})),
            }
        })
        .await;
        assert_eq!(client.runners(&scope("orgs/acme")).await, Ok(Vec::new()));
        assert_eq!(client.register(&scope("orgs/acme"), &registration()).await.unwrap().id, RunnerId::new(3));
    }
}

#[tokio::test]
async fn a_storm_ends_after_so_many_tries() {
    let gitea = scripted(Kind::Gitea, |_| reply(500, &json!({"message": "\u{1b}[31mon fire\n"}))).await;
    let error = gitea.runners(&scope("orgs/acme")).await.unwrap_err();
    assert_eq!(gitea.calls(), 1 + u64::from(timeouts().attempts));
    let text = error.to_string();
    assert!(error.is_transient() && text.contains("(500)") && text.contains("on fire"), "{text}");
    assert!(!text.contains(char::is_control), "{text}");
}

#[tokio::test]
async fn a_registration_is_not_repeated_when_it_may_have_been_done() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let client = scripted(kind, move |asked| {
            if asked.path.ends_with("/registration-token") {
                return reply(200, &json!({"token": "t"}));
            }
            counted.fetch_add(1, Ordering::Relaxed);
            reply(502, &json!({}))
        })
        .await;
        let error = client.register(&scope("orgs/acme"), &registration()).await.unwrap_err();
        assert!(matches!(error, Error::Server { status: 502, .. }), "{error}");
        assert_eq!(count.load(Ordering::Relaxed), 1, "{kind}");
    }
}

#[tokio::test]
async fn a_scope_that_is_too_small_is_said() {
    for (kind, said) in [
        (
            Kind::Gitea,
            "token does not have at least one of required scope(s), required=[read:organization], token scope=read:user",
        ),
        (Kind::Forgejo, "token does not have at least one of required scope(s): [read:organization]"),
    ] {
        let client = scripted(kind, move |_| reply(403, &json!({"message": said}))).await;
        let error = client.jobs(&scope("orgs/acme"), &[]).await.unwrap_err();
        let Error::Forbidden { needs, .. } = &error else { panic!("{error}") };
        assert_eq!(needs, &["read:organization"]);
        assert!(error.to_string().ends_with("create a token with the scope read:organization"), "{error}");
        assert_eq!(client.calls(), 2, "it is not tried again");
    }
}

#[tokio::test]
async fn a_runner_that_is_gone_is_deleted() {
    let place = scope("orgs/acme");
    let gone = [
        (404, json!({"message": "Runner not found", "errors": null})),
        (404, json!({"message": "runner with ID 9: resource does not exist"})),
        (500, json!({"message": "runner does not exist [id: 9]"})),
    ];
    for (status, body) in gone {
        let client = scripted(Kind::Gitea, move |_| reply(status, &body)).await;
        assert_eq!(client.delete_runner(&place, RunnerId::new(9)).await, Ok(()));
        assert_eq!(client.calls(), 2);
    }
    let again = first(1);
    let client =
        scripted(
            Kind::Gitea,
            move |_| if again() { reply(500, &json!({"message": LOCKED})) } else { status(204) },
        )
        .await;
    assert_eq!(client.delete_runner(&place, RunnerId::new(9)).await, Ok(()));
    let other =
        scripted(Kind::Gitea, |_| reply(404, &json!({"message": "No permission to access this runner"})))
            .await;
    assert!(matches!(other.delete_runner(&place, RunnerId::new(9)).await, Err(Error::Forbidden { .. })));
}

#[tokio::test]
async fn a_token_that_was_replaced_is_read_again() {
    let source = Source::new("old");
    let url = serve_version("1.26.0", |asked| match asked.authorization() {
        Some("token new") => reply(200, &Value::Null),
        _ => reply(401, &json!({"message": "invalid username, password or token"})),
    })
    .await;
    let gitea = client_of(fireactions_gitea::Settings {
        token: Some(source.source()),
        ..settings(Kind::Gitea, &url)
    });
    let place = scope("orgs/acme");
    let error = gitea.runners(&place).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }) && !error.is_transient(), "{error}");
    assert_eq!(gitea.calls(), 2, "the same token is not tried twice");
    source.set("new\n");
    assert_eq!(gitea.runners(&place).await, Ok(Vec::new()));
    assert_eq!(gitea.calls(), 4, "the old one, then the new one");
    assert_eq!(gitea.runners(&place).await, Ok(Vec::new()));
    assert_eq!(gitea.calls(), 5);
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_told() {
    let url = serve_version("1.26.0", |asked| panic!("asked for {}", asked.path)).await;
    let token: fireactions_gitea::SecretSource = Arc::new(|| Err("no such file".into()));
    let gitea = client_of(fireactions_gitea::Settings { token: Some(token), ..settings(Kind::Gitea, &url) });
    let error = gitea.runners(&scope("user")).await.unwrap_err();
    assert_eq!(error.to_string(), "the token for Gitea cannot be used: the API token: no such file");
    let token: fireactions_gitea::SecretSource = Arc::new(|| Ok(fireactions_model::Secret::new("a\nb")));
    let gitea = client_of(fireactions_gitea::Settings { token: Some(token), ..settings(Kind::Gitea, &url) });
    let error = gitea.runners(&scope("user")).await.unwrap_err();
    assert!(matches!(error, Error::Credential { .. }) && !error.to_string().contains("a\nb"), "{error}");
}

#[tokio::test]
async fn a_registration_token_by_hand_registers_and_does_nothing_else() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let url = serve_version(version(kind), move |asked| {
            assert_eq!(asked.path, "/api/actions/runner.v1.RunnerService/Register");
            assert_eq!(asked.json().unwrap()["token"], "by-hand");
            reply(200, &registered())
        })
        .await;
        let client = by_hand(kind, &url);
        assert_eq!(client.register(&scope("orgs/acme"), &registration()).await.unwrap().uuid, "u");
        let error = client.jobs(&scope("orgs/acme"), &[]).await.unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains("no API token"), "{error}");
    }
    let said = json!({"code": "unknown", "message": "runner registration token not found"});
    let url = serve_version("1.26.0", move |_| reply(500, &said)).await;
    let error = by_hand(Kind::Gitea, &url).register(&scope("user"), &registration()).await.unwrap_err();
    assert!(
        matches!(error, Error::Unauthorized { .. }) && error.to_string().contains("page of runners"),
        "{error}"
    );
}

#[tokio::test]
async fn a_proxy_that_is_busy_is_waited_for() {
    let busy = first(1);
    let gitea = scripted(Kind::Gitea, move |_| {
        if busy() {
            (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response()
        } else {
            reply(200, &Value::Null)
        }
    })
    .await;
    assert_eq!(gitea.runners(&scope("user")).await, Ok(Vec::new()));
    let url = serve_version("1.26.0", |_| {
        (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3600")]).into_response()
    })
    .await;
    let error = client(Kind::Gitea, &url).runners(&scope("user")).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // It takes connections and says nothing.
    let times = Timeouts {
        request: Duration::from_millis(200),
        total: Duration::from_millis(500),
        attempts: 100,
        backoff: Duration::from_millis(1),
    };
    let gitea = Gitea::with_timeouts(settings(Kind::Gitea, &url), times).unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), gitea.server()).await;
    let error = told.expect("it ends").unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error}");
    drop(listener);
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let forgejo = client(Kind::Forgejo, &url);
    let error = forgejo.register(&scope("user"), &registration()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error}");
    assert!(error.to_string().contains("Forgejo cannot be reached"), "{error}");
    assert_eq!(forgejo.calls(), u64::from(timeouts().attempts));
}

#[tokio::test]
async fn a_server_whose_clock_is_wrong() {
    for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 2100 23:59:59 GMT", "soon"] {
        let url = serve(move |asked| {
            let body =
                if asked.path.ends_with("/version") { json!({"version": "1.26.0"}) } else { Value::Null };
            let mut response = reply(200, &body);
            response.headers_mut().insert("date", date.parse().unwrap());
            response
        })
        .await;
        let gitea = client(Kind::Gitea, &url);
        assert_eq!(gitea.jobs(&scope("user"), &[]).await, Ok(Vec::new()));
        assert_eq!(gitea.runners(&scope("user")).await, Ok(Vec::new()));
    }
}

#[tokio::test]
async fn no_error_has_a_secret_in_it() {
    for code in [200, 201, 400, 401, 403, 404, 409, 422, 500] {
        let gitea = scripted(Kind::Gitea, move |_| {
            reply(code, &json!({"runners": "s3cret", "jobs": TOKEN, "token": ["s3cret"]}))
        })
        .await;
        let place = scope("user");
        let errors = [
            gitea.register(&place, &registration()).await.map(drop),
            gitea.runners(&place).await.map(drop),
            gitea.jobs(&place, &[]).await.map(drop),
        ];
        for error in errors.into_iter().filter_map(Result::err) {
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
    let gitea = client(Kind::Gitea, "http://127.0.0.1:9");
    assert!(!format!("{gitea:?}").contains(TOKEN));
}
