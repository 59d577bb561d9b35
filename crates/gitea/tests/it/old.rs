//! Servers that are older than a feature, or newer than they were.

use std::sync::{Arc, Mutex};

use fireactions_gitea::{Error, Kind, RunnerId};
use serde_json::json;

use crate::common::{Log, client, job, registration, reply, scope, serve, serve_version};

#[tokio::test]
async fn what_a_version_lacks_is_said_with_the_one_that_has_it() {
    for (kind, version, upgrade, jobs) in [
        (Kind::Gitea, "1.23.8", "1.24", true),
        (Kind::Forgejo, "14.0.2+gitea-1.22.0", "15", false),
        (Kind::Forgejo, "10.0.3+gitea-1.22.0", "15", true),
    ] {
        let url = serve_version(version, |asked| panic!("asked for {}", asked.path)).await;
        let (client, place) = (client(kind, &url), scope("orgs/acme"));
        let errors =
            [client.runners(&place).await.map(drop), client.delete_runner(&place, RunnerId::new(1)).await];
        for error in errors {
            let error = error.unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, Error::Unsupported { .. }) && !error.is_transient(), "{text}");
            let number = version.split('+').next().unwrap();
            assert!(
                text.contains(&format!("{kind} {number}"))
                    && text.contains(&format!("upgrade to {upgrade} or later")),
                "{text}"
            );
        }
        if jobs {
            for error in
                [client.jobs(&place, &[]).await.map(drop), client.job(&job("orgs/acme", 1)).await.map(drop)]
            {
                assert!(matches!(error, Err(Error::Unsupported { .. })), "{error:?}");
            }
        }
        assert_eq!(client.calls(), 1, "only the version was asked for");
    }
}

/// The requests with which a runner is registered.
async fn registers(kind: Kind, version: &'static str, place: &str) -> Vec<(String, String)> {
    let log = Log::default();
    let kept = log.clone();
    let url = serve_version(version, move |asked| {
        kept.add(&asked);
        if asked.path.contains("RunnerService") {
            let ephemeral = asked.json().unwrap()["ephemeral"] == true;
            return reply(
                200,
                &json!({"runner": {"id": "3", "uuid": "u", "token": "t", "ephemeral": ephemeral}}),
            );
        }
        reply(200, &json!({"token": "t"}))
    })
    .await;
    let registered = client(kind, &url).register(&scope(place), &registration()).await.unwrap();
    let can = client(kind, &url).server().await.unwrap().capabilities();
    assert_eq!(registered.ephemeral, can.ephemeral, "{version}");
    log.all().into_iter().map(|asked| (asked.method, asked.path)).collect()
}

#[tokio::test]
async fn registrations_by_version() {
    let rpc = ("POST".to_owned(), "/api/actions/runner.v1.RunnerService/Register".to_owned());
    let instance = "/api/v1/admin/runners/registration-token";
    let organization = "/api/v1/orgs/acme/actions/runners/registration-token";
    for (kind, version, place, method, path) in [
        (Kind::Gitea, "1.22.6", "instance", "GET", instance),
        (Kind::Gitea, "1.23.8", "orgs/acme", "GET", organization),
        (Kind::Gitea, "1.24.0", "orgs/acme", "POST", organization),
        (Kind::Gitea, "1.26.0", "instance", "POST", "/api/v1/admin/actions/runners/registration-token"),
        (Kind::Forgejo, "11.0.1+gitea-1.22.0", "instance", "GET", instance),
        (Kind::Forgejo, "14.0.1+gitea-1.22.0", "orgs/acme", "GET", organization),
    ] {
        let asked = registers(kind, version, place).await;
        assert_eq!(asked, [(method.to_owned(), path.to_owned()), rpc.clone()], "{kind} {version}");
    }
}

#[tokio::test]
async fn a_server_that_was_changed_is_asked_again() {
    let version = Arc::new(Mutex::new("1.26.0"));
    let now = version.clone();
    let url = serve(move |asked| {
        let version = *now.lock().unwrap();
        if asked.path.ends_with("/version") {
            return reply(200, &json!({"version": version}));
        }
        if version == "1.26.0" {
            reply(200, &json!({"jobs": [], "total_count": 0}))
        } else {
            reply(404, &json!({}))
        }
    })
    .await;
    let (gitea, place) = (client(Kind::Gitea, &url), scope("orgs/acme"));
    assert_eq!(gitea.jobs(&place, &[]).await, Ok(Vec::new()));
    assert_eq!(gitea.jobs(&place, &[]).await, Ok(Vec::new()));
    assert_eq!(gitea.calls(), 3, "the version is asked for once");
    *version.lock().unwrap() = "1.23.0";
    assert!(matches!(gitea.jobs(&place, &[]).await, Err(Error::NotFound { .. })));
    let error = gitea.jobs(&place, &[]).await.unwrap_err().to_string();
    assert!(error.contains("Gitea 1.23.0 has no API that lists waiting jobs"), "{error}");
}

#[tokio::test]
async fn many_ask_for_the_version_once() {
    let url = serve_version("1.26.0", |_| reply(200, &json!({"jobs": [], "total_count": 0}))).await;
    let gitea = client(Kind::Gitea, &url);
    let all = (0..20).map(|_| gitea.server());
    for server in futures::future::join_all(all).await {
        assert_eq!(server.unwrap().text, "1.26.0");
    }
    assert_eq!(gitea.calls(), 1);
}

#[tokio::test]
async fn the_other_forge_is_told() {
    let url = serve_version("1.26.0", |asked| panic!("asked for {}", asked.path)).await;
    let error = client(Kind::Forgejo, &url).jobs(&scope("user"), &[]).await.unwrap_err();
    assert!(error.to_string().contains("the server is a Gitea (1.26.0): set its kind to 'gitea'"), "{error}");
}

#[tokio::test]
async fn a_server_that_tells_strangers_nothing() {
    let url = serve(|asked| match asked.authorization() {
        None => reply(403, &json!({"message": "Only signed in user is allowed to call APIs."})),
        Some(_) => reply(200, &json!({"version": "1.26.0"})),
    })
    .await;
    assert_eq!(client(Kind::Gitea, &url).server().await.unwrap().text, "1.26.0");
    let error = crate::common::by_hand(Kind::Gitea, &url).server().await.unwrap_err();
    assert!(error.to_string().contains("Only signed in user"), "{error}");
}
