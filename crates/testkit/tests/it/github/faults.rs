//! Everything that GitHub may do to a client.

use std::time::{Duration, Instant};

use fireactions_testkit::github::Fault;
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::client::{SOON, assert_clean, world};

const RUNNERS: &str = "/orgs/octo/actions/runners";

#[tokio::test]
async fn requests_that_fit_get_what_is_scripted() {
    let (fake, client) = world().await;
    fake.fault(Fault::on("GET", "/orgs/*/actions/runners").times(2).status(503, "Service Unavailable"));
    fake.fault(Fault::on("*", "/orgs/**").after(1).secondary_limit(Duration::from_secs(7)));
    fake.fault(Fault::on("POST", "/orgs/octo/**").answer(502, &[("retry-after", "3")], "<html>"));
    let storm = client.get(RUNNERS).await;
    assert_eq!((storm.status, &storm.body["message"]), (503, &json!("Service Unavailable")));
    assert_eq!(client.get(RUNNERS).await.status, 503);
    assert_eq!(
        client.get(RUNNERS).await.status,
        200,
        "the second fault lets the first one that it sees pass"
    );
    let limited = client.get(RUNNERS).await;
    assert_eq!((limited.status, limited.header("retry-after")), (403, "7"));
    assert!(limited.body["message"].as_str().unwrap().contains("secondary rate limit"));
    let broken = client.jit("/orgs/octo", "r", &["a"]).await;
    assert_eq!((broken.status, broken.header("retry-after"), &broken.body), (502, "3", &json!(null)));
    assert_eq!(fake.faults_left(), 0);
    assert_eq!(client.get(RUNNERS).await.status, 200);
    assert_clean(&fake);
}

#[tokio::test]
async fn connections_break_stall_and_are_slow() {
    let (fake, client) = world().await;
    let get = || client.request(reqwest::Method::GET, RUNNERS);
    fake.fault(Fault::on("GET", RUNNERS).reset());
    // A client may try once more by itself on a connection that it had kept.
    let fresh = reqwest::Client::builder().no_proxy().user_agent("test").build().unwrap();
    assert!(fresh.get(format!("{}{RUNNERS}", client.api)).send().await.is_err());
    fake.fault(Fault::on("GET", RUNNERS).latency(Duration::from_millis(300)));
    let started = Instant::now();
    assert_eq!(get().send().await.unwrap().status(), 200);
    assert!(started.elapsed() >= Duration::from_millis(300));
    fake.fault(Fault::on("GET", RUNNERS).stall(Duration::from_secs(60)));
    let stalled = get().timeout(Duration::from_millis(300)).send().await.unwrap_err();
    assert!(stalled.is_timeout(), "{stalled:?}");
    fake.fault(Fault::on("POST", "/orgs/octo/**").lost_answer());
    let body = json!({"name": "r1", "runner_group_id": 1, "labels": ["a"]});
    let url = format!("{}/orgs/octo/actions/runners/generate-jitconfig", client.api);
    let ask = fresh.post(url).json(&body).header("authorization", client.authorization.clone().unwrap());
    assert!(ask.send().await.is_err());
    assert_eq!(client.jit("/orgs/octo", "r1", &["a"]).await.status, 409, "it was done all the same");
    assert_clean(&fake);
}

#[tokio::test]
async fn github_is_down_for_a_while() {
    let (fake, client) = world().await;
    let address = fake.url().trim_start_matches("http://").to_owned();
    let mut idle = tokio::net::TcpStream::connect(address).await.unwrap();
    assert_eq!(client.get(RUNNERS).await.status, 200, "the idle connection before it is accepted too");
    fake.down(Duration::from_millis(400));
    let started = Instant::now();
    let broken = tokio::time::timeout(SOON, idle.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
    let up = async {
        while client.request(reqwest::Method::GET, RUNNERS).send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, up).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(350), "{:?}", started.elapsed());
    assert_clean(&fake);
}

#[tokio::test]
async fn limits_are_told_and_kept() {
    let (fake, client) = world().await;
    fake.set_rate_limit(10);
    let first = client.get(RUNNERS).await;
    assert_eq!((first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")), ("10", "9"));
    fake.exhaust_rate_limit(Duration::from_secs(600));
    let refused = client.get(RUNNERS).await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (403, "0"));
    assert!(refused.body["message"].as_str().unwrap().starts_with("API rate limit exceeded"));
    let reset: i64 = refused.header("x-ratelimit-reset").parse().unwrap();
    let told = client.get("/rate_limit").await;
    assert_eq!((told.status, &told.body["resources"]["core"]["reset"]), (200, &json!(reset)));
    fake.set_clock_offset(jiff::SignedDuration::from_secs(601));
    assert_eq!(client.get(RUNNERS).await.status, 200);
    assert_eq!(
        fake.most_points_a_minute(),
        5,
        "one token by the App; its installation's questions are fewer"
    );
    assert_clean(&fake);
}

#[tokio::test]
async fn who_asks_too_fast_is_refused_until_its_minute_is_over() {
    let (fake, client) = world().await;
    fake.set_secondary_limit(12, Duration::from_secs(600));
    assert_eq!(client.jit("/orgs/octo", "r1", &["a"]).await.status, 201);
    assert_eq!(client.jit("/orgs/octo", "r2", &["a"]).await.status, 201, "a change costs five points");
    let refused = client.jit("/orgs/octo", "r3", &["a"]).await;
    assert!(refused.body["message"].as_str().unwrap().contains("secondary rate limit"), "{refused:?}");
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!(refused.status == 403 && (1..=601).contains(&after), "{refused:?}");
    assert_ne!(refused.header("x-ratelimit-remaining"), "0", "it is not the primary limit");
    assert_eq!((client.get(RUNNERS).await.status, client.get(RUNNERS).await.status), (200, 200));
    assert_eq!(client.get(RUNNERS).await.status, 403, "the twelve are used up");
    assert_eq!((fake.runners().len(), fake.refused_as_too_fast()), (2, 2), "nothing was done");
    let token = fake.personal_token(&["admin:org"]);
    let other = super::client::Client::new(&fake, Some(format!("Bearer {token}")));
    assert_eq!(other.get(RUNNERS).await.status, 200, "everyone has a minute of his own");
    fake.set_secondary_limit(12, Duration::ZERO);
    assert_eq!(client.get(RUNNERS).await.status, 200, "the minute is over");
    assert_clean(&fake);
}

#[tokio::test]
async fn of_more_than_a_hundred_at_once_some_are_refused() {
    let (fake, client) = world().await;
    fake.fault(Fault::on("GET", RUNNERS).times(100).stall(Duration::from_secs(3600)));
    let mut hundred = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        hundred.spawn(async move { client.get(RUNNERS).await });
    }
    let status = async |wanted: u16| {
        while client.get(RUNNERS).await.status != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let under_way = async {
        while fake.calls().of("GET /orgs/{org}/actions/runners") < 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, under_way).await.unwrap();
    let refused = client.get(RUNNERS).await;
    assert!(refused.body["message"].as_str().unwrap().contains("secondary rate limit"), "{refused:?}");
    hundred.shutdown().await;
    tokio::time::timeout(SOON, status(200)).await.unwrap();
    assert_clean(&fake);
}

#[tokio::test]
async fn a_stopped_fake_is_gone_until_it_is_started_again() {
    let (fake, client) = world().await;
    fake.stop();
    let gone = async {
        while client.request(reqwest::Method::GET, RUNNERS).send().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
    let address = fake.url().trim_start_matches("http://").to_owned();
    fake.start(std::net::TcpListener::bind(address).unwrap());
    assert_eq!(client.get(RUNNERS).await.status, 200);
}
