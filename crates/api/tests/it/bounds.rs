//! What callers can hold: connections, followers, uploads. Time is the test's, so nothing here waits.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use crate::common::{Rest, Server, job_id, machine_id, serve, spec};
use fireactions_api::*;
use fireactions_model::{InputFile, JobSpec};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longer than any patience of the server's.
const LONG: Duration = Duration::from_secs(3600);

async fn say(socket: &Path, what: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(what.as_bytes()).await.unwrap();
    stream
}

async fn hear(stream: &mut UnixStream) -> String {
    let mut heard = Vec::new();
    timeout(LONG, stream.read_to_end(&mut heard)).await.expect("the connection ends").unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

/// The answer's first piece, of a connection that stays open.
async fn first(stream: &mut UnixStream) -> String {
    let mut piece = vec![0; 8192];
    let length = timeout(LONG, stream.read(&mut piece)).await.expect("an answer").unwrap();
    String::from_utf8_lossy(&piece[..length]).into_owned()
}

const ASK: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_let_go_and_keeps_nobody_out() {
    let server = serve(Limits { connections: 3, ..Limits::default() }).await;
    let mut silent = say(&server.socket, "").await;
    let mut slow = say(&server.socket, "GET /healthz HTTP/1.1\r\nHos").await;
    // A connection that is kept is silent as well, after its answer.
    let mut kept = say(&server.socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(first(&mut kept).await.starts_with("HTTP/1.1 200"));
    let mut next = say(&server.socket, ASK).await;
    let early = timeout(Duration::from_secs(5), next.read_u8()).await;
    assert!(early.is_err(), "all places are taken: it waits");
    assert!(timeout(LONG, hear(&mut next)).await.unwrap().contains("200 OK"));
    assert_eq!(hear(&mut silent).await, "");
    assert_eq!(hear(&mut slow).await, "");
    assert_eq!(hear(&mut kept).await, "");
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_cut_off() {
    let server = serve(Limits { connections: 1, ..Limits::default() }).await;
    *server.fake.rest.lock().unwrap() = Rest::Flood;
    let path = format!("/api/v1/machines/{}/console", machine_id());
    let mut deaf =
        say(&server.socket, &format!("GET {path}?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    let mut next = say(&server.socket, ASK).await;
    assert!(hear(&mut next).await.contains("200 OK"), "it has the place of the one that reads nothing");
    let mut rest = Vec::new();
    deaf.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "what was cut is no whole answer");
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn followers_have_so_many_places() {
    let server = serve(Limits { followers: 1, ..Limits::default() }).await;
    let followed = server.client.console(&machine_id(), None, true).await.unwrap();
    let error = server.client.events().await.err().unwrap();
    let ClientError::Refused(fault) = &error else { panic!("{error:?}") };
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("followed"), "{fault}");
    server.client.pools().await.unwrap();
    drop(followed);
    // The server sees the end when it comes to it.
    let again = async {
        while server.client.events().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, again).await.unwrap();
    server.end().await;
}

/// A job with one file of so many bytes, and so many of them.
fn job(size: u64, sent: usize) -> String {
    let file = InputFile { dest: "/in".into(), mode: 0o644, size };
    let spec = JobSpec { files: vec![file], ..spec() };
    let line = serde_json::to_string(&spec).unwrap();
    let length = line.len() as u64 + 1 + size;
    format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \
         application/vnd.fireactions.job\r\nContent-Length: {length}\r\n\r\n{line}\n{}",
        "x".repeat(sent)
    )
}

async fn spooling(server: &Server) {
    while server.fake.spooled() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn uploads_share_a_budget_of_bytes() {
    let server = serve(Limits { spool: 64 << 10, upload: 64 << 10, ..Limits::default() }).await;
    let mut large = say(&server.socket, &job(60 << 10, 5)).await;
    spooling(&server).await;
    let mut other = say(&server.socket, &job(10 << 10, 10 << 10)).await;
    let refused = hear(&mut other).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("other uploads"), "{refused}");
    // What fits gets in, and what has no files does not need to.
    let mut small = say(&server.socket, &job(1 << 10, 1 << 10)).await;
    assert!(hear(&mut small).await.starts_with("HTTP/1.1 201"));
    server.client.submit(&spec(), &[] as &[&Path]).await.unwrap();
    large.write_all("x".repeat((60 << 10) - 5).as_bytes()).await.unwrap();
    assert!(hear(&mut large).await.starts_with("HTTP/1.1 201"));
    let mut again = say(&server.socket, &job(60 << 10, 60 << 10)).await;
    assert!(hear(&mut again).await.starts_with("HTTP/1.1 201"), "its part of the budget is free again");
    server.end().await;
}

#[tokio::test]
async fn uploads_have_so_many_places() {
    let server = serve(Limits { uploads: 1, ..Limits::default() }).await;
    let large = say(&server.socket, &job(100, 5)).await;
    spooling(&server).await;
    let mut other = say(&server.socket, &job(1, 1)).await;
    assert!(hear(&mut other).await.starts_with("HTTP/1.1 503"));
    drop(large);
    let freed = async {
        while !hear(&mut say(&server.socket, &job(1, 1)).await).await.starts_with("HTTP/1.1 201") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(60), freed).await.unwrap();
    assert_eq!(server.fake.spooled(), 0, "nothing of the one that broke off is left");
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stalls_ends() {
    let server = serve(Limits::default()).await;
    let mut stalled = say(&server.socket, &job(100, 5)).await;
    let answer = hear(&mut stalled).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("stalled"), "{answer}");
    let mut json = say(
        &server.socket,
        "POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
    )
    .await;
    let answer = hear(&mut json).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("stalled"), "{answer}");
    assert_eq!(server.fake.spooled(), 0);
    server.end().await;
}

#[tokio::test]
async fn a_log_that_the_server_cuts_is_not_taken_for_whole() {
    for (path, rest) in [
        (format!("jobs/{}/log?follow=true", job_id()), Rest::Silence),
        (format!("machines/{}/console?follow=true", machine_id()), Rest::Silence),
        (format!("jobs/{}/log", job_id()), Rest::Fault),
    ] {
        let server = serve(Limits::default()).await;
        *server.fake.rest.lock().unwrap() = rest;
        let http = reqwest::Client::builder().unix_socket(server.socket.as_path()).build().unwrap();
        let answer = http.get(format!("http://localhost/api/v1/{path}")).send().await;
        // As curl hears it: a broken transfer, and an exit code that is not 0. A log that breaks at once may take the
        // answer's head with it.
        let mut broke = answer.is_err();
        if let Ok(answer) = answer {
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
            assert_eq!(answer.headers()["x-accel-buffering"], "no", "{path}: no proxy holds it back");
            let mut body = answer.bytes_stream();
            broke |= body.next().await.unwrap().is_err();
            server.api.close();
            while let Some(piece) = body.next().await {
                broke |= piece.is_err();
            }
        }
        assert!(broke, "{path}: it ends as if it were whole");
        server.end().await;
    }
}

#[tokio::test]
async fn nothing_comes_after_an_error() {
    let server = serve(Limits::default()).await;
    *server.fake.rest.lock().unwrap() = Rest::Fault;
    let http = reqwest::Client::builder().unix_socket(server.socket.as_path()).build().unwrap();
    let url = format!("http://localhost/api/v1/jobs/{}/log/events", job_id());
    let text = http.get(url).send().await.unwrap().text().await.unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["output", "output", "output", "error"], "{text}");
    server.end().await;
}

#[tokio::test]
async fn a_pull_that_the_server_cuts_says_so() {
    let server = serve(Limits::default()).await;
    let request =
        PullRequest { image: "slow:1".parse().unwrap(), policy: fireactions_model::PullPolicy::IfNotPresent };
    let mut pull = server.client.pull_image(&request).await.unwrap();
    pull.next().await.unwrap().unwrap();
    server.api.close();
    let error = pull.next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("stopping") && error.is_transient(), "{error}");
    server.end().await;
}
