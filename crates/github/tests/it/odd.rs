//! Servers that do what GitHub does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use fireactions_github::{Error, Github, RunnerId};
use serde_json::json;

use crate::common::{client, json, scope, serve, settings, timeouts, token};

async fn github(answer: impl Fn(crate::common::Asked) -> Response + Send + Sync + 'static) -> Github {
    client(&serve(answer).await, token("t0p-s3cret"))
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    let github = github(|_| {
        let chunk = bytes::Bytes::from(vec![b' '; 1 << 20]);
        let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
        Response::new(Body::from_stream(endless))
    })
    .await;
    let error = github.runners(&scope("octo")).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error}");
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let followed = Arc::new(AtomicU32::new(0));
    let count = followed.clone();
    let elsewhere = serve(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        json(200, &json!({"runners": []}))
    })
    .await;
    for status in [301_u16, 302, 307, 308] {
        let location = format!("{elsewhere}/api/v3/orgs/octo/actions/runners");
        let github = github(move |_| {
            let status = axum::http::StatusCode::from_u16(status).unwrap();
            (status, [("location", location.clone())]).into_response()
        })
        .await;
        let error = github.runners(&scope("octo")).await.unwrap_err();
        assert!(error.to_string().contains("renamed"), "{error}");
    }
    assert_eq!(followed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_list_leads_neither_to_another_host_nor_in_circles() {
    let page = |link: &str| {
        let body = json!({"total_count": 2, "runners": []}).to_string();
        ([("link", link.to_owned())], body).into_response()
    };
    let astray = github(move |_| page("<https://evil.example/api/v3/x>; rel=\"next\"")).await;
    let error = astray.runners(&scope("octo")).await.unwrap_err();
    assert!(error.to_string().contains("another host"), "{error}");
    assert_eq!(astray.calls(), 1);
    let circle = github(move |asked| {
        let other = if asked.uri.contains("page=2") { 3 } else { 2 };
        page(&format!("<?page={other}>; rel=\"next\""))
    })
    .await;
    let error = circle.runners(&scope("octo")).await.unwrap_err();
    assert!(error.to_string().contains("more than 200 pages"), "{error}");
    assert_eq!(circle.calls(), 200);
}

#[tokio::test]
async fn answers_that_are_not_what_they_should_be() {
    for body in ["", "<html>", "[]", r#"{"runners": 1}"#, r#"{"runners": [{"id": -1}]}"#, "\u{0}"] {
        let github = github(move |_| body.into_response()).await;
        let error = github.runners(&scope("octo")).await.unwrap_err();
        assert!(matches!(error, Error::Unexpected { .. }), "{body}: {error}");
        assert!(!error.is_transient());
    }
    let github = github(|_| axum::http::StatusCode::NO_CONTENT.into_response()).await;
    let error = github.runner(&scope("octo"), RunnerId::new(1)).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn not_modified_without_having_been_asked() {
    let github = github(|asked| {
        assert!(!asked.headers.contains_key("if-none-match"));
        axum::http::StatusCode::NOT_MODIFIED.into_response()
    })
    .await;
    let error = github.queued_jobs(&"octo/app".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn requests_say_who_and_which_version() {
    let github = github(|asked| {
        assert_eq!(
            (asked.method.as_str(), asked.uri.as_str()),
            ("GET", "/api/v3/orgs/octo/actions/runners?per_page=100")
        );
        assert!(asked.body.is_empty());
        let header = |name: &str| asked.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("authorization"), "Bearer t0p-s3cret");
        assert_eq!(header("accept"), "application/vnd.github+json");
        assert_eq!(header("x-github-api-version"), "2022-11-28");
        assert!(header("user-agent").starts_with("fireactions/"));
        json(200, &json!({"runners": []}))
    })
    .await;
    assert_eq!(github.runners(&scope("octo")).await.unwrap(), []);
}

#[tokio::test]
async fn a_proxy_that_is_set_is_used() {
    let proxy = serve(|asked| {
        assert_eq!(asked.uri, "http://127.0.0.1:9/api/v3/orgs/octo/actions/runners?per_page=100");
        assert_eq!(asked.headers["proxy-authorization"], "Basic dXNlcjpodW50ZXIy");
        json(200, &json!({"runners": []}))
    })
    .await;
    let mut settings = settings("http://127.0.0.1:9", token("t"));
    settings.proxy = Some(proxy.replace("http://", "http://user:hunter2@").parse().unwrap());
    let github = Github::with_timeouts(settings, timeouts()).unwrap();
    assert_eq!(github.runners(&scope("octo")).await.unwrap(), []);
}

#[tokio::test]
async fn certificates_that_are_none_are_refused_at_once() {
    for pem in [&b""[..], b"nonsense", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
        let mut settings = settings("https://git.example.org", token("t"));
        settings.ca_pem = Some(pem.to_vec());
        let error = Github::new(settings).unwrap_err();
        assert!(matches!(error, Error::Settings(_)), "{error}");
    }
}
