//! What `forge check` is told.

use axum::response::Response;
use fireactions_gitea::{Error, Kind};
use serde_json::{Value, json};

use crate::common::{Asked, Log, by_hand, client, reply, scope, scripted, serve_version, version};

/// A server whose token has the scopes that `may` names, by `METHOD path`.
fn guarded(kind: Kind, asked: &Asked, may: &[&str]) -> Response {
    let category = match asked.path.trim_start_matches("/api/v1/").split('/').next().unwrap() {
        "admin" => "admin",
        "user" => "user",
        "orgs" => "organization",
        _ => "repository",
    };
    let level = if asked.method == "GET" { "read" } else { "write" };
    let fits =
        |scope: &&str| *scope == format!("{level}:{category}") || *scope == format!("write:{category}");
    if !may.iter().any(fits) {
        let wanted = format!("[{level}:{category}]");
        let said = match kind {
            Kind::Gitea => format!(
                "token does not have at least one of required scope(s), required={wanted}, token scope=x"
            ),
            Kind::Forgejo => format!("token does not have at least one of required scope(s): {wanted}"),
        };
        return reply(403, &json!({"message": said}));
    }
    if asked.path.contains("/repositories/") {
        return reply(404, &json!({}));
    }
    match asked.method.as_str() {
        "POST" if asked.path.ends_with("/registration-token") => reply(200, &json!({"token": "t"})),
        "POST" => {
            assert_eq!(asked.json(), Some(json!({})), "nothing is registered");
            reply(422, &json!({"message": "[Name]: Required"}))
        }
        "GET" => reply(200, &Value::Null),
        other => panic!("{other} {}", asked.path),
    }
}

#[tokio::test]
async fn a_token_that_may_do_everything() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        for (place, may) in [
            ("orgs/acme", &["write:organization", "read:repository"][..]),
            ("repos/acme/app", &["write:repository"]),
            ("user", &["write:user", "read:repository"]),
            ("instance", &["write:admin", "read:repository"]),
        ] {
            let client = scripted(kind, move |asked| guarded(kind, &asked, may)).await;
            let access = client.access(&scope(place)).await.unwrap();
            assert!(access.is_enough(), "{kind} {place}: {:?}", access.checks);
            assert_eq!((access.missing.len(), access.lacks.len()), (0, 0));
            assert_eq!(access.needs.iter().map(|need| need.scope).collect::<Vec<_>>(), may);
            assert_eq!(access.server.text, version(kind));
            assert!(access.clock.unwrap().abs() < jiff::SignedDuration::from_mins(10));
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_named_once() {
    for kind in [Kind::Gitea, Kind::Forgejo] {
        let client = scripted(kind, move |asked| guarded(kind, &asked, &["read:organization"])).await;
        let access = client.access(&scope("orgs/acme")).await.unwrap();
        assert_eq!(access.missing, ["write:organization", "read:repository"]);
        let failed: Vec<&str> = access
            .checks
            .iter()
            .filter(|check| check.outcome.is_err())
            .map(|check| check.doing.as_str())
            .collect();
        assert_eq!(failed, ["register runners at orgs/acme", "read repositories"]);
        let nothing = scripted(kind, move |asked| guarded(kind, &asked, &[])).await;
        let access = nothing.access(&scope("instance")).await.unwrap();
        assert_eq!(access.missing, ["write:admin", "read:admin", "read:repository"]);
    }
}

#[tokio::test]
async fn who_is_no_administrator_is_told() {
    let gitea =
        scripted(Kind::Gitea, |_| reply(403, &json!({"message": "user should be the site admin"}))).await;
    let access = gitea.access(&scope("instance")).await.unwrap();
    let error = access.checks[0].outcome.clone().unwrap_err();
    assert!(
        matches!(error, Error::Forbidden { .. }) && error.to_string().contains("site administrator"),
        "{error}"
    );
    assert!(access.missing.is_empty() && !access.is_enough());
}

#[tokio::test]
async fn what_old_versions_lack() {
    let url = serve_version("1.23.8", |asked| {
        assert_eq!(
            (asked.method.as_str(), asked.path.as_str()),
            ("GET", "/api/v1/orgs/acme/actions/runners/registration-token")
        );
        reply(200, &json!({"token": "t"}))
    })
    .await;
    let access = client(Kind::Gitea, &url).access(&scope("orgs/acme")).await.unwrap();
    let lacks = access.lacks.join("\n");
    assert_eq!(access.lacks.len(), 3, "{lacks}");
    assert!(
        lacks.contains("ephemeral") && lacks.contains("runners wait for them") && lacks.contains("1.25"),
        "{lacks}"
    );
    let url = serve_version("1.24.7", |_| reply(200, &json!({"token": "t", "runners": []}))).await;
    let access = client(Kind::Gitea, &url).access(&scope("orgs/acme")).await.unwrap();
    assert_eq!(access.lacks, ["Gitea 1.24.7 cannot list waiting jobs: webhooks report them; Gitea 1.25 can"]);
}

#[tokio::test]
async fn with_a_registration_token_alone_nothing_is_tried() {
    let log = Log::default();
    let kept = log.clone();
    let url = serve_version("1.26.0", move |asked| {
        kept.add(&asked);
        reply(500, &json!({}))
    })
    .await;
    let access = by_hand(Kind::Gitea, &url).access(&scope("orgs/acme")).await.unwrap();
    assert!(access.checks.is_empty() && access.needs.is_empty() && log.all().is_empty());
    assert_eq!(
        access.lacks,
        ["without an API token, the jobs of this Gitea are not visible: runners wait for them"]
    );
}
