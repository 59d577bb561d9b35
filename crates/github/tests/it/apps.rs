//! Apps, their installations and tokens; personal tokens.

use std::time::Duration;

use fireactions_github::{App, Credentials, Error, Github, Timeouts};
use fireactions_testkit::github::{FakeGithub, Fault};
use jiff::SignedDuration;

use crate::common::{Octo, Source, app, assert_clean, client, scope, settings, timeouts, token};

const TOKENS: &str = "POST /app/installations/{installation_id}/access_tokens";
const FIND: &str = "GET /orgs/{org}/installation";

#[tokio::test]
async fn keys_in_both_forms_and_ids_of_both_kinds() {
    let octo = Octo::new();
    for (id, pem) in
        [(octo.key.id.to_string(), &octo.key.pkcs1), (octo.key.client_id.clone(), &octo.key.pkcs8)]
    {
        let app = App { id, key: Source::new(pem).source() };
        let github = client(&octo.fake.url(), Credentials::Apps(vec![app]));
        assert_eq!(github.runners(&scope("octo")).await.unwrap(), []);
    }
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn one_token_serves_many_calls_at_once_and_all_scopes_of_an_installation() {
    let octo = Octo::new();
    octo.fake
        .fault(Fault::on("POST", "/app/installations/*/access_tokens").latency(Duration::from_millis(50)));
    let organization = scope("octo");
    let calls = (0..20).map(|_| octo.github.runners(&organization));
    for result in futures::future::join_all(calls).await {
        assert_eq!(result.unwrap(), []);
    }
    octo.github.runners(&scope("octo/app")).await.unwrap();
    assert_eq!(octo.calls(TOKENS), 1);
    assert_eq!(octo.calls("GET /repos/{owner}/{repo}/installation"), 1);
    let before = octo.calls(FIND);
    octo.github.runners(&organization).await.unwrap();
    assert_eq!(octo.calls(FIND), before, "who serves a scope is kept");
    assert_eq!(octo.github.calls(), octo.fake.calls().total);
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn each_scope_is_served_by_the_app_that_is_installed_there() {
    let octo = Octo::new();
    octo.fake.organization("hexa");
    octo.fake.organization("mono");
    let other = octo.fake.app("others");
    octo.fake.install_fully(other.id, "hexa");
    let github = client(&octo.fake.url(), Credentials::Apps(vec![app(&octo.key), app(&other)]));
    github.runners(&scope("octo")).await.unwrap();
    github.runners(&scope("hexa")).await.unwrap();
    let payers: Vec<String> = github.limits().into_iter().map(|limit| limit.credential).collect();
    assert!(
        payers.iter().any(|payer| payer.starts_with(&format!("app {} installation", other.client_id))),
        "{payers:?}"
    );
    let error = github.runners(&scope("mono")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&octo.key.client_id) && text.contains(&other.client_id), "{text}");
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_token_that_ends_or_is_revoked_is_replaced() {
    let octo = Octo::new();
    // Shorter than the time before its end at which one is replaced.
    octo.fake.set_token_lifetime(SignedDuration::from_mins(4));
    let organization = scope("octo");
    octo.github.runners(&organization).await.unwrap();
    octo.github.runners(&organization).await.unwrap();
    assert_eq!(octo.calls(TOKENS), 2, "early");
    // While GitHub has a trouble, the old one does.
    octo.fake.fault(Fault::on("POST", "/app/installations/*/access_tokens").times(4));
    octo.github.runners(&organization).await.unwrap();
    octo.fake.set_token_lifetime(SignedDuration::from_hours(1));
    octo.github.runners(&organization).await.unwrap();
    let before = octo.calls(TOKENS);
    octo.fake.revoke_tokens();
    octo.github.runners(&organization).await.unwrap();
    assert_eq!(octo.calls(TOKENS), before + 1, "revoked");
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn an_app_that_is_installed_anew_is_found_anew() {
    let octo = Octo::new();
    let organization = scope("octo");
    octo.github.runners(&organization).await.unwrap();
    octo.fake.uninstall(octo.installation);
    let error = octo.github.runners(&organization).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    octo.fake.install_fully(octo.key.id, "octo");
    octo.github.runners(&organization).await.unwrap();
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_key_that_was_rotated_is_read_again() {
    let octo = Octo::new();
    let source = Source::new(&octo.key.pkcs1);
    let app = App { id: octo.key.client_id.clone(), key: source.source() };
    let github = client(&octo.fake.url(), Credentials::Apps(vec![app]));
    github.runners(&scope("octo")).await.unwrap();
    assert_eq!(source.reads(), 1);
    let new = octo.fake.rotate_key(octo.key.id);
    octo.fake.revoke_tokens();
    let error = github.runners(&scope("octo")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    source.set(&new.pkcs8);
    github.runners(&scope("octo")).await.unwrap();
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_clock_that_is_minutes_off_is_corrected_by_githubs() {
    for minutes in [-5, 5, 90] {
        let octo = Octo::new();
        octo.fake.set_clock_offset(SignedDuration::from_mins(minutes));
        octo.github.runners(&scope("octo")).await.unwrap();
        octo.fake.revoke_tokens();
        let before = octo.fake.calls().total;
        octo.github.runners(&scope("octo")).await.unwrap();
        assert_eq!(octo.fake.calls().total, before + 3, "refused, a token, again: the clock is right now");
        // And when the clock is set right.
        octo.fake.set_clock_offset(SignedDuration::ZERO);
        octo.fake.revoke_tokens();
        octo.github.runners(&scope("octo")).await.unwrap();
        assert_clean(&octo.fake);
    }
}

#[tokio::test]
async fn a_suspended_installation_is_said() {
    let octo = Octo::new();
    octo.fake.suspend(octo.installation, true);
    let error = octo.github.runners(&scope("octo")).await.unwrap_err().to_string();
    assert!(error.contains("suspended"), "{error}");
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn personal_tokens_are_read_again_after_a_401() {
    let fake = FakeGithub::local();
    fake.repository("octo/app");
    fake.enterprise("big", &["octo"]);
    let scopes = ["admin:org", "repo", "manage_runners:enterprise"];
    let old = fake.personal_token(&scopes);
    let source = Source::new(&format!("{old}\n"));
    let github = client(&fake.url(), Credentials::Token(source.source()));
    for place in ["octo", "octo/app", "enterprises/big"] {
        assert_eq!(github.runners(&scope(place)).await.unwrap(), [], "{place}");
    }
    assert_eq!(source.reads(), 1);
    fake.revoke_personal_token(&old);
    let error = github.runners(&scope("octo")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    source.set(&fake.personal_token(&scopes));
    github.runners(&scope("octo")).await.unwrap();
    assert_clean(&fake);
}

#[tokio::test]
async fn credentials_that_are_none() {
    let octo = Octo::new();
    let url = octo.fake.url();
    assert!(matches!(Github::new(settings(&url, Credentials::Apps(vec![]))), Err(Error::Settings(_))));
    let failing: fireactions_github::SecretSource = std::sync::Arc::new(|| Err("no such file".into()));
    let github = client(&url, Credentials::Token(failing));
    let error = github.runners(&scope("octo")).await.unwrap_err();
    assert_eq!(error.to_string(), "the credential for GitHub cannot be used: the token: no such file");
    let github = client(&url, token("two\nlines"));
    let error = github.runners(&scope("octo")).await.unwrap_err();
    assert!(matches!(error, Error::Credential(_)) && !error.to_string().contains("two"), "{error}");
}

#[tokio::test]
async fn what_the_credential_may_do_is_told() {
    let octo = Octo::new();
    let access = octo.github.describe(&scope("octo")).await.unwrap();
    let app = access.app.unwrap();
    assert_eq!((app.id, app.slug.as_str(), app.installation), (octo.key.id, "runners", octo.installation));
    assert_eq!((access.missing, access.missing_events), (vec![], vec![]));
    assert_eq!(access.runners, Ok(0));
    assert_eq!(access.limits[0].resource, "core");

    octo.fake.set_permissions(octo.installation, &[("metadata", "read")]);
    octo.fake.set_events(octo.key.id, &[]);
    octo.fake.revoke_tokens();
    let access = octo.github.describe(&scope("octo")).await.unwrap();
    let missing: Vec<&str> = access.missing.iter().map(|missing| missing.name).collect();
    assert_eq!(missing, ["organization_self_hosted_runners", "actions"]);
    assert_eq!(access.missing_events, ["workflow_job"]);
    assert!(matches!(access.runners, Err(Error::Forbidden { .. })), "{:?}", access.runners);

    let pat = octo.fake.personal_token(&["admin:org"]);
    let access = client(&octo.fake.url(), token(&pat)).describe(&scope("octo")).await.unwrap();
    assert_eq!((access.app, access.runners), (None, Ok(0)));
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_asked_for_once_for_all_who_wait() {
    let octo = Octo::new();
    let times = Timeouts {
        request: Duration::from_secs(1),
        total: Duration::from_secs(3),
        attempts: 2,
        ..timeouts()
    };
    let credentials = Credentials::Apps(vec![app(&octo.key)]);
    let github = Github::with_timeouts(settings(&octo.fake.url(), credentials), times).unwrap();
    let organization = scope("octo");
    octo.fake.fault(
        Fault::on("POST", "/app/installations/*/access_tokens").times(1000).stall(Duration::from_secs(3600)),
    );
    let calls = (0..10).map(|_| github.runners(&organization));
    for result in futures::future::join_all(calls).await {
        assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
    }
    // One after the other they would have asked twenty times.
    assert!(octo.calls(TOKENS) < 10, "{}", octo.calls(TOKENS));
    octo.fake.clear_faults();
    github.runners(&organization).await.unwrap();
    assert_clean(&octo.fake);
}
