//! A log goes on at the next server.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::{job_id, serve};
use fireactions_api::{Client, Limits, LogEvent, Target};
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// Answers the next connection with these events, and ends it when it was open for so long; gives the request's first line.
async fn answer(listener: &UnixListener, events: &str, open: Duration) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap();
    stream.write_all(format!("{HEAD}{events}").as_bytes()).await.unwrap();
    tokio::time::sleep(open).await;
    String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned()
}

/// What a whole server says of a job, for others to tell in pieces: as the client has it, and as it is sent.
async fn whole() -> (Vec<LogEvent>, Vec<String>) {
    let server = serve(Limits::default()).await;
    let all: Vec<LogEvent> = server.client.follow_job(&job_id(), 0).try_collect().await.unwrap();
    assert_eq!(all.len(), 4);
    server.end().await;
    let events = all
        .iter()
        .map(|event| match event {
            LogEvent::Output(chunk) => {
                format!("event: output\ndata: {}\n\n", serde_json::to_string(chunk).unwrap())
            }
            LogEvent::End(job) => {
                format!("event: end\ndata: {{\"job\":{}}}\n\n", serde_json::to_string(job).unwrap())
            }
        })
        .collect();
    (all, events)
}

/// A place for servers, and a client that asks there.
fn place() -> (tempfile::TempDir, PathBuf, Client) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let client = Client::new(Target::Socket(path.clone()), None).unwrap();
    (dir, path, client)
}

#[tokio::test]
async fn a_followed_log_goes_on_where_the_server_ended_it() {
    let (all, events) = whole().await;
    let (_dir, path, client) = place();
    let followed = tokio::spawn(async move { client.follow_job(&job_id(), 0).try_collect::<Vec<_>>().await });
    let mut asked = String::new();
    // No server at first, then one after another that ends: after a whole event, and in the middle of one.
    for said in [events[0].clone(), events[1][..20].to_owned(), events[1..].concat()] {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let listener = UnixListener::bind(&path).unwrap();
        writeln!(asked, "{}", answer(&listener, &said, Duration::ZERO).await).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(followed.await.unwrap().unwrap(), all);
    let positions: Vec<&str> =
        asked.lines().filter_map(|line| line.split("from=").nth(1)?.split('&').next()).collect();
    assert_eq!(positions, ["0", "1", "1"], "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_says_nothing_is_followed_over_any_number_of_restarts() {
    let (all, events) = whole().await;
    let (_dir, path, client) = place();
    let listener = UnixListener::bind(&path).unwrap();
    let followed = tokio::spawn(async move { client.follow_job(&job_id(), 0).try_collect::<Vec<_>>().await });
    for _ in 0..3 {
        answer(&listener, "", Duration::from_secs(100)).await;
    }
    answer(&listener, &events.concat(), Duration::ZERO).await;
    assert_eq!(followed.await.unwrap().unwrap(), all);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_ends_at_once_again_and_again_is_given_up() {
    let (_dir, path, client) = place();
    let listener = UnixListener::bind(&path).unwrap();
    let followed = async move { client.follow_job(&job_id(), 0).try_collect::<Vec<_>>().await };
    let ends = async {
        loop {
            answer(&listener, "", Duration::ZERO).await;
        }
    };
    let error = tokio::select! {
        followed = followed => followed.unwrap_err(),
        () = ends => unreachable!(),
    };
    assert!(error.to_string().contains("closed the log repeatedly"), "{error}");
}

#[tokio::test]
async fn a_proxy_whose_server_restarts_is_asked_again() {
    let (all, events) = whole().await;
    let (_dir, path, client) = place();
    let listener = UnixListener::bind(&path).unwrap();
    let followed = tokio::spawn(async move { client.follow_job(&job_id(), 0).try_collect::<Vec<_>>().await });
    for status in ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"] {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let said = format!("HTTP/1.1 {status}\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>");
        stream.write_all(said.as_bytes()).await.unwrap();
    }
    answer(&listener, &events.concat(), Duration::ZERO).await;
    assert_eq!(followed.await.unwrap().unwrap(), all);
}

/// One that is not followed is whole, too, or it is an error.
#[tokio::test]
async fn a_log_that_a_server_ends_in_the_middle_is_asked_for_again() {
    let (all, events) = whole().await;
    let (_dir, path, client) = place();
    let error = client.whole_log(&job_id()).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(
        error.to_string().contains("cannot reach"),
        "nobody waits for a server that is not there: {error}"
    );
    let listener = UnixListener::bind(&path).unwrap();
    let read = tokio::spawn(async move { client.whole_log(&job_id()).try_collect::<Vec<_>>().await });
    let asked = answer(&listener, &events[0], Duration::ZERO).await;
    assert!(asked.contains("from=0&follow=false"), "{asked}");
    let asked = answer(&listener, &events[1..].concat(), Duration::ZERO).await;
    assert!(asked.contains("from=1&follow=false"), "{asked}");
    assert_eq!(read.await.unwrap().unwrap(), all);
}
