//! GitHub with troubles of its own: what is tried again, and what is not.

use std::time::Duration;

use fireactions_github::{Credentials, Error, Github, JitRequest, Timeouts};
use fireactions_testkit::github::Fault;

use crate::common::{Octo, app, assert_clean, scope, settings, timeouts};

const RUNNERS: &str = "/orgs/octo/actions/runners";
const JIT: &str = "/orgs/octo/actions/runners/generate-jitconfig";
const JIT_ROUTE: &str = "POST /orgs/{org}/actions/runners/generate-jitconfig";

fn request() -> JitRequest {
    JitRequest { name: "fa-1".into(), group: 1, labels: vec!["a".into()], work_folder: "_work".into() }
}

#[tokio::test]
async fn what_can_be_repeated_is() {
    let octo = Octo::new();
    octo.fake.fault(Fault::on("GET", RUNNERS).times(2).status(502, "Bad Gateway"));
    octo.fake.fault(Fault::on("GET", RUNNERS).reset());
    octo.github.runners(&scope("octo")).await.unwrap();
    assert_eq!(octo.fake.faults_left(), 0);
    octo.fake.fault(Fault::on("POST", "/app/installations/*/access_tokens").status(500, "no"));
    octo.fake.fault(Fault::on("POST", "/orgs/octo/actions/runners/registration-token").status(503, "no"));
    octo.fake.revoke_tokens();
    octo.github.registration_token(&scope("octo")).await.unwrap();
    assert_eq!(octo.fake.faults_left(), 0);
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_storm_ends_after_so_many_tries() {
    let octo = Octo::new();
    octo.github.runners(&scope("octo")).await.unwrap();
    octo.fake.fault(Fault::on("GET", RUNNERS).times(1000).status(500, "\u{1b}[31mon fire\n"));
    let sent = octo.github.calls();
    let error = octo.github.runners(&scope("octo")).await.unwrap_err();
    assert_eq!(octo.github.calls() - sent, u64::from(timeouts().attempts));
    assert!(error.is_transient(), "{error}");
    let text = error.to_string();
    assert!(text.contains("(500)") && text.contains("on fire") && !text.contains(char::is_control), "{text}");
}

#[tokio::test]
async fn a_registration_is_not_repeated_when_it_may_have_been_done() {
    let octo = Octo::new();
    let organization = scope("octo");
    octo.github.runners(&organization).await.unwrap();
    octo.fake.fault(Fault::on("POST", JIT).status(502, "Bad Gateway"));
    let error = octo.github.generate_jit(&organization, &request()).await.unwrap_err();
    assert!(matches!(error, Error::Server { status: 502, .. }), "{error}");
    octo.fake.fault(Fault::on("POST", JIT).lost_answer());
    let error = octo.github.generate_jit(&organization, &request()).await.unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    assert_eq!(octo.calls(JIT_ROUTE), 2);
    // It was done, as the next one hears.
    let error = octo.github.generate_jit(&organization, &request()).await.unwrap_err();
    assert_eq!(error, Error::NameTaken { name: "fa-1".into() });
    // What a rate limit refuses was not done, nor what an old token asked.
    octo.fake.delete_runner_by_hand("fa-1");
    octo.fake.fault(Fault::on("POST", JIT).secondary_limit(Duration::from_secs(1)));
    octo.github.generate_jit(&organization, &request()).await.unwrap();
    octo.fake.delete_runner_by_hand("fa-1");
    octo.fake.revoke_tokens();
    octo.github.generate_jit(&organization, &request()).await.unwrap();
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let octo = Octo::new();
    let times = Timeouts {
        request: Duration::from_millis(200),
        total: Duration::from_millis(500),
        attempts: 100,
        backoff: Duration::from_millis(1),
    };
    octo.fake.fault(Fault::on("GET", RUNNERS).times(1000).stall(Duration::from_secs(3600)));
    octo.github.runners(&scope("octo/app")).await.unwrap();
    let credentials = Credentials::Apps(vec![app(&octo.key)]);
    let github = Github::with_timeouts(settings(&octo.fake.url(), credentials), times).unwrap();
    let place = scope("octo");
    let told = tokio::time::timeout(Duration::from_secs(60), github.runners(&place)).await;
    let error = told.expect("it ends").unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let octo = Octo::new();
    let organization = scope("octo");
    octo.github.runners(&organization).await.unwrap();
    octo.fake.stop();
    // Connections that are refused prove that nothing was sent.
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let github = crate::common::client(&url, crate::common::token("x"));
    let error = github.generate_jit(&organization, &request()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error}");
    assert_eq!(github.calls(), u64::from(timeouts().attempts));
}
