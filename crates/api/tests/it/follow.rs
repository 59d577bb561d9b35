//! A followed log goes on at the next server.

use std::fmt::Write as _;

use crate::common::{job_id, serve};
use fireactions_api::{Client, Limits, LogEvent, Target};
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// Answers the next connection with these events and breaks it; gives the request's first line.
async fn answer(listener: &UnixListener, events: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{head}{events}").as_bytes()).await.unwrap();
    String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn a_followed_log_goes_on_where_the_server_ended_it() {
    // What a whole server says, told in pieces by others.
    let server = serve(Limits::default()).await;
    let all: Vec<LogEvent> = server.client.follow_job(&job_id(), 0).try_collect().await.unwrap();
    assert_eq!(all.len(), 4);
    let events: Vec<String> = all
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

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let client = Client::new(Target::Socket(path.clone()), None).unwrap();
    let followed = tokio::spawn(async move { client.follow_job(&job_id(), 0).try_collect::<Vec<_>>().await });
    let mut asked = String::new();
    // No server at first, then one after another that ends: after a whole event, and in the middle of one.
    for said in [events[0].clone(), events[1][..20].to_owned(), events[1..].concat()] {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let listener = UnixListener::bind(&path).unwrap();
        writeln!(asked, "{}", answer(&listener, &said).await).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(followed.await.unwrap().unwrap(), all);
    let positions: Vec<&str> =
        asked.lines().filter_map(|line| line.split("from=").nth(1)?.split('&').next()).collect();
    assert_eq!(positions, ["0", "1", "1"], "{asked}");
}
