//! Rate limits.

use std::time::{Duration, Instant};

use fireactions_github::Error;
use fireactions_testkit::github::Fault;

use crate::common::{Octo, assert_clean, scope};

const RUNNERS: &str = "GET /orgs/{org}/actions/runners";

#[tokio::test]
async fn a_used_up_limit_is_told_and_nothing_more_is_sent() {
    let octo = Octo::new();
    octo.github.runners(&scope("octo")).await.unwrap();
    octo.fake.exhaust_rate_limit(Duration::from_secs(600));
    let error = octo.github.runners(&scope("octo")).await.unwrap_err();
    let Error::RateLimited { after, secondary: false, .. } = &error else { panic!("{error}") };
    assert!((500..=602).contains(&after.as_secs()), "{after:?}");
    assert!(error.is_transient() && error.retry_after() == Some(*after));
    let sent = octo.github.calls();
    for _ in 0..3 {
        let again = octo.github.runners(&scope("octo")).await.unwrap_err();
        assert!(matches!(again, Error::RateLimited { .. }), "{again}");
    }
    assert_eq!(octo.github.calls(), sent);
    let limit = octo.github.limits().into_iter().find(|l| l.credential.contains("installation")).unwrap();
    assert_eq!(limit.remaining, 0);
    assert!(limit.blocked_until.unwrap() > jiff::Timestamp::now());
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_short_limit_is_waited_for() {
    let octo = Octo::new();
    octo.github.runners(&scope("octo")).await.unwrap();
    // Resets are whole seconds of the clock: of one second, nothing may be left.
    octo.fake.exhaust_rate_limit(Duration::from_secs(2));
    let began = Instant::now();
    octo.github.runners(&scope("octo")).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    octo.fake.fault(Fault::on("GET", "/orgs/octo/actions/runners").secondary_limit(Duration::from_secs(1)));
    let began = Instant::now();
    octo.github.runners(&scope("octo")).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_secondary_limit_stops_everything_of_its_credential() {
    let octo = Octo::new();
    octo.github.runners(&scope("octo")).await.unwrap();
    octo.fake.fault(Fault::on("GET", "/orgs/octo/actions/runners").secondary_limit(Duration::from_secs(60)));
    let error = octo.github.runners(&scope("octo")).await.unwrap_err();
    let Error::RateLimited { after, secondary: true, .. } = error else { panic!("{error}") };
    assert!((59..=60).contains(&after.as_secs()), "{after:?}");
    let sent = octo.github.calls();
    let error = octo.github.registration_token(&scope("octo")).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { secondary: true, .. }), "{error}");
    assert_eq!((octo.github.calls(), octo.calls(RUNNERS)), (sent, 2));
}

#[tokio::test]
async fn a_refusal_without_a_time_means_a_minute() {
    let octo = Octo::new();
    octo.fake.fault(
        Fault::on("GET", "/orgs/octo/actions/runners")
            .status(429, "You have exceeded a secondary rate limit."),
    );
    let error = octo.github.runners(&scope("octo")).await.unwrap_err();
    let after = error.retry_after().unwrap();
    assert!((59..=60).contains(&after.as_secs()), "{after:?}");
}
