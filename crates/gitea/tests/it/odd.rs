//! Servers that do what Gitea and Forgejo do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use fireactions_gitea::{Error, Gitea, Kind, RunnerId, Settings};
use serde_json::json;

use crate::common::{client_of, job, registration, reply, scope, scripted, serve, settings, timeouts};

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    let gitea = scripted(Kind::Gitea, |_| {
        let chunk = bytes::Bytes::from(vec![b' '; 1 << 20]);
        let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
        Response::new(Body::from_stream(endless))
    })
    .await;
    let error = gitea.runners(&scope("user")).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error}");
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn redirects_are_explained_and_not_followed() {
    let followed = Arc::new(AtomicU32::new(0));
    let count = followed.clone();
    let elsewhere = serve(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        reply(200, &json!({"version": "1.26.0"}))
    })
    .await;
    for status in [301_u16, 302, 307, 308] {
        let location = format!("{elsewhere}/git/api/v1/version");
        let url = serve(move |_| {
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            (status, [("location", location.clone())]).into_response()
        })
        .await;
        let error = client_of(settings(Kind::Gitea, &url)).server().await.unwrap_err();
        assert!(error.to_string().contains(&format!("{elsewhere}/git/api/v1/version")), "{error}");
    }
    assert_eq!(followed.load(Ordering::Relaxed), 0);
    let url = serve(|asked| {
        let host = asked.headers["host"].to_str().unwrap().split(':').next().unwrap().to_owned();
        (axum::http::StatusCode::MOVED_PERMANENTLY, [("location", format!("https://{host}{}", asked.path))])
            .into_response()
    })
    .await;
    let error = client_of(settings(Kind::Forgejo, &url)).server().await.unwrap_err();
    assert!(
        error.to_string().contains("redirects to https") && error.to_string().contains("https://127.0.0.1/"),
        "{error}"
    );
}

#[tokio::test]
async fn answers_that_are_not_what_they_should_be() {
    let place = scope("orgs/acme");
    for body in [
        "",
        "<html>",
        "1",
        r#"{"runners": 1}"#,
        r#"[{"id": -1}]"#,
        r#"{"jobs": [{"id": "x"}]}"#,
        "\u{0}",
        "{}",
    ] {
        for kind in [Kind::Gitea, Kind::Forgejo] {
            let client = scripted(kind, move |_| body.into_response()).await;
            let errors = [
                client.runners(&place).await.map(drop),
                client.jobs(&place, &[]).await.map(drop),
                client.register(&place, &registration()).await.map(drop),
            ];
            for error in errors {
                let error = error.unwrap_err();
                assert!(
                    matches!(error, Error::Unexpected { .. }) && !error.is_transient(),
                    "{kind} {body}: {error}"
                );
            }
        }
    }
    let gitea = scripted(Kind::Gitea, |_| reply(200, &json!([]))).await;
    let mut known = job("user", 1);
    known.repository = Some("acme/app".into());
    assert!(matches!(gitea.job(&known).await, Err(Error::Unexpected { .. })));
    let gitea = scripted(Kind::Gitea, |_| axum::http::StatusCode::ACCEPTED.into_response()).await;
    assert!(matches!(gitea.delete_runner(&place, RunnerId::new(1)).await, Err(Error::Unexpected { .. })));
}

#[tokio::test]
async fn a_page_that_is_no_forge() {
    for body in ["<html>", r#"{"version":"nginx"}"#, r#"{"version":1}"#] {
        let url = serve(move |_| body.into_response()).await;
        let error = client_of(settings(Kind::Gitea, &url)).server().await.unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. } | Error::Settings { .. }), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_registration_without_a_credential_is_none() {
    let empty = json!({"runner": {"id": "3", "uuid": "", "token": ""}});
    let gitea = scripted(Kind::Gitea, move |asked| {
        if asked.path.contains("RunnerService") {
            reply(200, &empty)
        } else {
            reply(200, &json!({"token": "t"}))
        }
    })
    .await;
    let error = gitea.register(&scope("user"), &registration()).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn jobs_of_a_status_that_is_not_known_are_left_out() {
    let gitea = scripted(Kind::Gitea, |_| {
        reply(200, &json!({"jobs": [{"id": 1, "status": "dreaming"}, {"id": 2, "status": "queued"}], "total_count": 2}))
    })
    .await;
    let found = gitea.jobs(&scope("user"), &[]).await.unwrap();
    assert_eq!(found.iter().map(|job| job.id.get()).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_proxy_that_is_set_is_used_and_http_must_be_allowed() {
    let proxy = serve(|asked| {
        assert_eq!(asked.headers["host"], "git.example.org");
        assert_eq!(asked.headers["proxy-authorization"], "Basic dXNlcjpodW50ZXIy");
        reply(200, &json!({"version": "1.26.0"}))
    })
    .await;
    let proxy = Some(proxy.replace("http://", "http://user:hunter2@").parse().unwrap());
    let open = Settings { proxy, ..settings(Kind::Gitea, "http://git.example.org") };
    let error = Gitea::new(open.clone()).unwrap_err();
    assert!(error.to_string().contains("does not use https"), "{error}");
    let gitea = Gitea::with_timeouts(Settings { insecure_http: true, ..open }, timeouts()).unwrap();
    assert_eq!(gitea.server().await.unwrap().text, "1.26.0");
}

#[tokio::test]
async fn certificates_that_are_none_are_refused_at_once() {
    for pem in [&b""[..], b"nonsense", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
        let settings =
            Settings { ca_pem: Some(pem.to_vec()), ..settings(Kind::Forgejo, "https://git.example.org") };
        let error = Gitea::new(settings).unwrap_err();
        assert!(matches!(error, Error::Settings { .. }) && error.to_string().contains("Forgejo"), "{error}");
    }
}
