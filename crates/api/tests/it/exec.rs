//! Programs in machines, over a real WebSocket.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::{TOKEN, machine_id, serve, serve_tcp};
use bytes::Bytes;
use fireactions_api::*;
use fireactions_model::{MachineId, Stream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

fn request(argv: &[&str]) -> ExecRequest {
    ExecRequest {
        argv: argv.iter().map(ToString::to_string).collect(),
        tty: None,
        env: Vec::new(),
        user: None,
    }
}

async fn next(exec: &mut RemoteExec) -> ExecEvent {
    timeout(SOON, exec.output.next()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn input_output_size_and_exit() {
    let server = serve(Limits::default()).await;
    let mut exec = server.client.exec(&machine_id(), &request(&["cat"])).await.unwrap();
    exec.input.send(&ExecInput::Stdin(Bytes::from_static(b"hi\xff"))).await.unwrap();
    assert_eq!(next(&mut exec).await, ExecEvent::Output(Stream::Stdout, Bytes::from_static(b"hi\xff")));
    exec.input.send(&ExecInput::Resize(WindowSize { rows: 24, cols: 80 })).await.unwrap();
    assert_eq!(next(&mut exec).await, ExecEvent::Output(Stream::Stderr, Bytes::from_static(b"24x80")));
    exec.input.send(&ExecInput::Eof).await.unwrap();
    assert_eq!(next(&mut exec).await, ExecEvent::Exit(ExecExit::Code(7)));
    assert!(timeout(SOON, exec.output.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn much_data_passes_whole() {
    let server = serve(Limits::default()).await;
    let RemoteExec { mut input, mut output } =
        server.client.exec(&machine_id(), &request(&["cat"])).await.unwrap();
    let data: Bytes = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect::<Vec<u8>>().into();
    let sent = data.clone();
    let sending = tokio::spawn(async move {
        input.send(&ExecInput::Stdin(sent)).await.unwrap();
        input.send(&ExecInput::Eof).await.unwrap();
        input
    });
    let mut got = Vec::new();
    loop {
        match timeout(SOON, output.next()).await.unwrap().unwrap().unwrap() {
            ExecEvent::Output(_, piece) => got.extend_from_slice(&piece),
            ExecEvent::Exit(exit) => break assert_eq!(exit, ExecExit::Code(7)),
        }
    }
    assert!(got == data, "{} of {} bytes came back", got.len(), data.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn what_fails_says_why() {
    let server = serve(Limits { sessions: 1, ..Limits::default() }).await;
    let unknown = MachineId::from_random([9; 8]);
    let error = server.client.exec(&unknown, &request(&["true"])).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Fault { code: Code::NotFound, .. })), "{error:?}");

    let mut exec = server.client.exec(&machine_id(), &request(&["missing"])).await.unwrap();
    let end = next(&mut exec).await;
    assert_eq!(end, ExecEvent::Exit(ExecExit::Failed("there is no program 'missing'".into())));
    drop(exec);

    // One session is allowed; the second is told so before its connection is upgraded.
    let mut held = loop {
        match server.client.exec(&machine_id(), &request(&["cat"])).await {
            Ok(exec) => break exec,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let error = server.client.exec(&machine_id(), &request(&["cat"])).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Fault { code: Code::Unavailable, .. })), "{error:?}");

    server.api.close();
    assert_eq!(next(&mut held).await, ExecEvent::Exit(ExecExit::Failed("the server is stopping".into())));
}

#[tokio::test]
async fn a_bad_request_never_reaches_the_machine() {
    let server = serve(Limits::default()).await;
    let mut bad = request(&["cat"]);
    bad.env.push(("A=B".into(), String::new()));
    let mut exec = server.client.exec(&machine_id(), &bad).await.unwrap();
    let end = next(&mut exec).await;
    assert_eq!(end, ExecEvent::Exit(ExecExit::Failed("'A=B' is not a valid variable name".into())));
}

#[tokio::test]
async fn over_tcp_with_a_token() {
    let (_api, url) = serve_tcp(Some(TOKEN)).await;
    let client = Client::new(Target::Url(url.clone()), Some(TOKEN)).unwrap();
    let mut exec = client.exec(&machine_id(), &request(&["cat"])).await.unwrap();
    exec.input.send(&ExecInput::Eof).await.unwrap();
    assert_eq!(next(&mut exec).await, ExecEvent::Exit(ExecExit::Code(7)));

    let stranger = Client::new(Target::Url(url), None).unwrap();
    let error = stranger.exec(&machine_id(), &request(&["cat"])).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(Fault { code: Code::Unauthorized, .. })), "{error:?}");
}
