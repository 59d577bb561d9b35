//! A server that is replaced: its listeners go from one process to the next.

#![allow(clippy::unwrap_used)]

use std::os::fd::AsFd;
use std::time::Duration;

use crate::common::Fake;
use fireactions_api::{Api, Auth, Limits, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::test]
async fn a_paused_server_refuses_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let first = listen::bind_unix(&path, 0o660, None).await.unwrap();
    let second = std::os::unix::net::UnixListener::from(first.as_fd().try_clone_to_owned().unwrap());
    let old = Api::new(Fake::new(), Limits::default());
    let serving = tokio::spawn(listen::serve(first, old.router(Auth::Socket), old.clone(), 512));
    let ask = async |mut stream: UnixStream| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };

    // Taken, and without a word yet; it would be closed by a shutdown alone.
    let early = UnixStream::connect(&path).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    old.pause();
    let late = tokio::spawn(ask(UnixStream::connect(&path).await.unwrap()));
    let answer = ask(early).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    old.close();
    serving.await.unwrap().unwrap();
    assert!(!late.is_finished(), "it waits for the next server");

    let new = Api::new(Fake::new(), Limits::default());
    let second = tokio::net::UnixListener::from_std(second).unwrap();
    let serving = tokio::spawn(listen::serve(second, new.router(Auth::Socket), new.clone(), 512));
    // A connection that is kept ends with its server.
    tokio::time::sleep(Duration::from_millis(200)).await;
    new.close();
    assert!(late.await.unwrap().starts_with("HTTP/1.1 200"));
    serving.await.unwrap().unwrap();
}
