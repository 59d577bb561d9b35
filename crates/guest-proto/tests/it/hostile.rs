//! Guests that break the rules: each loses its link, with a word that says which rule, and costs the host no more
//! than the bounded bytes it may hold.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are not seen as tests

use std::future::Future;
use std::time::Duration;

use crate::common::rogue::*;
use fireactions_guest_proto::host::{Endpoint, JobEvent, Link, LinkError};
use fireactions_guest_proto::limits::{JOB_WINDOW, MAX_BODY, MAX_STALE, STREAM_WINDOW};
use fireactions_guest_proto::{Exit, GuestHello, GuestMsg, GuestState, HostMsg, Kind, RunRequest, VERSION};
use tokio::net::UnixListener;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(60);

/// Runs a rogue and returns what its link ended with.
async fn verdict<F: Future<Output = Rogue>>(act: impl FnOnce(Rogue, Link) -> F) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let link = Link::open(Endpoint::Dial(path), "m");
    let play = async {
        let rogue = Rogue::meet(&listener).await;
        let _open = act(rogue, link.clone()).await;
        link.closed().await;
    };
    timeout(LONG, play).await.expect("the host did not end it");
    match link.failure() {
        Some(LinkError::Protocol(rule)) => rule,
        other => panic!("ended with {other:?}"),
    }
}

#[tokio::test]
async fn frames_that_are_none() {
    let huge = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        rogue.frame(Kind::Control, 0, 0, &vec![1; MAX_BODY + 1000]).await;
        rogue
    });
    assert!(huge.await.contains("longer than the limit"));

    let endless = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        while rogue.raw(&[1; 4096]).await {}
        rogue
    });
    assert!(endless.await.contains("longer than the limit"));

    let empty = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        rogue.raw(&[0; 100]).await;
        rogue
    });
    assert!(empty.await.contains("empty frames"));

    let garbage = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        rogue.raw(b"\x03ab\x02c\0").await;
        rogue
    });
    assert!(garbage.await.contains("malformed"));

    let not_json = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        rogue.frame(Kind::Control, 0, 0, &vec![b'['; 60_000]).await;
        rogue
    });
    assert!(not_json.await.contains("not understood"));

    let old_session = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        rogue.nonce += 1;
        rogue.say(&GuestMsg::Pong).await;
        rogue
    });
    assert!(old_session.await.contains("another session"));
}

#[tokio::test]
async fn an_answer_that_never_comes() {
    let rule = verdict(|mut rogue, _| async {
        let noise = vec![1u8; 64 * 1024];
        let mut sent = 0;
        while sent <= 2 * MAX_STALE && rogue.raw(&noise).await {
            sent += noise.len();
        }
        rogue
    });
    assert!(rule.await.contains("without an answer"));
}

#[tokio::test]
async fn greetings_that_lie() {
    for (state, rule) in [
        (GuestState::Running { run: String::new(), pid: 1, acked: 0 }, "run's name"),
        (GuestState::Running { run: "x".repeat(1000), pid: 1, acked: 0 }, "run's name"),
        (
            GuestState::Exited { run: "j".into(), acked: 9, end: 3, result: ended(0) },
            "more output acknowledged",
        ),
    ] {
        let got = verdict(|mut rogue, _| async {
            rogue.hello(state).await;
            rogue
        });
        assert!(got.await.contains(rule), "{rule}");
    }
    let escape = verdict(|mut rogue, _| async {
        let kernel = "\x1b[2J".to_owned();
        rogue.say(&GuestMsg::Hello(GuestHello { kernel, ..hello(GuestState::Idle) })).await;
        rogue
    });
    assert!(escape.await.contains("control characters"));

    let twice = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        rogue.hello(GuestState::Idle).await;
        rogue
    });
    assert!(twice.await.contains("second hello"));
}

#[tokio::test]
async fn an_agent_of_another_age() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let link = Link::open(Endpoint::Dial(path), "m");
    let mut rogue = Rogue::meet(&listener).await;
    rogue.say(&GuestMsg::Hello(GuestHello { version: 0, ..hello(GuestState::Idle) })).await;
    timeout(LONG, link.closed()).await.unwrap();
    assert_eq!(link.failure(), Some(LinkError::Version { oldest: 1, newest: VERSION }));
}

#[tokio::test]
async fn states_out_of_order() {
    let started = |run: &str| GuestMsg::Started { run: run.into(), pid: 1 };
    let exited = |end, code| GuestMsg::Exited { run: "j1".into(), end, result: ended(code) };
    let cases: Vec<(GuestState, Vec<GuestMsg>, &str)> = vec![
        (GuestState::Idle, vec![started("j1")], "started out of order"),
        (GuestState::Idle, vec![exited(0, 0)], "end out of order"),
        (GuestState::Configured, vec![exited(0, 0)], "end out of order"),
        (GuestState::Configured, vec![started("j1"), started("j2")], "started out of order"),
        (running(0), vec![exited(7, 0)], "not where its output ended"),
        (running(0), vec![exited(0, 0), started("j1")], "started out of order"),
        (running(0), vec![exited(0, 0), exited(0, 1)], "end out of order"),
        (running(0), vec![exited(0, 0), exited(0, 0)], "second end"),
        (GuestState::Idle, vec![GuestMsg::FileDone { stream: 1, error: None }], "never opened"),
        (GuestState::Idle, vec![GuestMsg::ExecExited { stream: 0, exit: Exit::Code(0) }], "never opened"),
    ];
    for (state, messages, rule) in cases {
        let said = format!("{messages:?}");
        let got = verdict(|mut rogue, _| async move {
            rogue.hello(state).await;
            for message in messages {
                rogue.say(&message).await;
            }
            rogue
        });
        let got = got.await;
        assert!(got.contains(rule), "{said}: {got}");
    }
}

#[tokio::test]
async fn output_out_of_order_or_too_much() {
    let early = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Configured).await;
        rogue.job(0, b"x").await;
        rogue
    });
    assert!(early.await.contains("before the job runs"));

    let gap = verdict(|mut rogue, _| async {
        rogue.hello(running(0)).await;
        rogue.job(1, b"x").await;
        rogue
    });
    assert!(gap.await.contains("out of order"));

    let again = verdict(|mut rogue, _| async {
        rogue.hello(running(0)).await;
        rogue.job(0, b"x").await;
        rogue.job(0, b"x").await;
        rogue
    });
    assert!(again.await.contains("out of order"));

    let absurd = verdict(|mut rogue, _| async {
        rogue.hello(running(u64::MAX - 1)).await;
        rogue.job(u64::MAX - 1, b"xyz").await;
        rogue
    });
    assert!(absurd.await.contains("absurd"));

    // Nobody takes any of it: the window ends it, and it is all that was ever held.
    let flood = verdict(|mut rogue, _| async {
        rogue.hello(running(0)).await;
        let mut sent = 0;
        while rogue.job(sent, &vec![b'x'; 32 * 1024]).await {
            sent += 32 * 1024;
            assert!(sent < 64 * JOB_WINDOW, "the host took {sent} bytes");
        }
        rogue
    });
    assert!(flood.await.contains("window"));
}

#[tokio::test]
async fn streams_that_nobody_opened() {
    let many = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        for stream in 1..=10_000 {
            if !rogue.frame(Kind::Data, 1, stream, b"x").await {
                break;
            }
        }
        rogue
    });
    assert!(many.await.contains("never opened"));

    let credit = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        rogue.frame(Kind::Credit, 0, 9, &5u64.to_le_bytes()).await;
        rogue
    });
    assert!(credit.await.contains("never opened"));
}

#[tokio::test]
async fn streams_that_overflow() {
    let flood = verdict(|mut rogue, link| async move {
        rogue.hello(GuestState::Idle).await;
        let exec = link.exec(exec()).await.unwrap();
        let mut sent = 0;
        while rogue.frame(Kind::Data, 2, 1, &[b'x'; 10_000]).await {
            sent += 10_000;
            assert!(sent < 64 * STREAM_WINDOW, "the host took {sent} bytes");
        }
        drop(exec);
        rogue
    });
    assert!(flood.await.contains("window"));

    let closed = verdict(|mut rogue, link| async move {
        rogue.hello(GuestState::Idle).await;
        drop(link.exec(exec()).await.unwrap());
        while rogue.frame(Kind::Data, 2, 1, &[b'x'; 10_000]).await {}
        rogue
    });
    assert!(closed.await.contains("stream that is closed"));

    let lied = verdict(|mut rogue, link| async move {
        rogue.hello(GuestState::Idle).await;
        let exec = link.exec(exec()).await.unwrap();
        rogue.frame(Kind::Credit, 0, 1, &1_000_000u64.to_le_bytes()).await;
        link.closed().await;
        drop(exec);
        rogue
    });
    assert!(lied.await.contains("more acknowledged than was sent"));
}

#[tokio::test]
async fn chatter() {
    let rule = verdict(|mut rogue, _| async {
        rogue.hello(GuestState::Idle).await;
        while rogue.say(&GuestMsg::Pong).await {}
        rogue
    });
    assert!(rule.await.contains("unasked messages"));
}

#[tokio::test]
async fn a_guest_that_forgets_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let link = Link::open(Endpoint::Dial(path), "m");
    let mut rogue = Rogue::meet(&listener).await;
    rogue.hello(running(0)).await;
    rogue.job(0, b"tail").await;
    link.hello().await.unwrap();
    drop(rogue);
    let mut rogue = Rogue::meet(&listener).await;
    rogue.hello(GuestState::Configured).await;
    timeout(LONG, link.closed()).await.unwrap();
    // What had come is still to be had before the reason.
    assert!(matches!(link.next_output().await, Ok(JobEvent::Output { offset: 0, .. })));
    let error = link.next_output().await.unwrap_err();
    assert!(matches!(&error, LinkError::Protocol(rule) if rule.contains("earlier state")), "{error}");
}

#[tokio::test]
async fn a_guest_that_stops_reading_holds_up_only_its_callers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let link = Link::open(Endpoint::Dial(path), "m");
    let mut rogue = Rogue::meet(&listener).await;
    rogue.hello(running(0)).await;
    link.hello().await.unwrap();
    // More than a socket's buffer, to a guest that never acknowledges: the window holds it back.
    let content = vec![1; 4 << 20];
    let copy = link.put_file("/x", 0o600, content.len() as u64, &content[..]);
    assert!(timeout(Duration::from_millis(300), copy).await.is_err());
    rogue.job(0, b"still heard").await;
    let event = timeout(LONG, link.next_output()).await.unwrap().unwrap();
    assert!(matches!(event, JobEvent::Output { data, .. } if data == "still heard"));
    let large = RunRequest {
        run: "j1".into(),
        argv: vec!["x".repeat(2 << 20)],
        env: vec![],
        user: String::new(),
        owner_of: Vec::new(),
        workdir: String::new(),
    };
    drop(rogue);
    let mut rogue = Rogue::meet(&listener).await;
    rogue.hello(running(11)).await;
    assert_eq!(timeout(LONG, link.run(large.clone())).await.unwrap(), Ok(()), "it runs already");
    link.close();

    let link = Link::open(Endpoint::Dial(dir.path().join("s")), "m");
    let mut rogue = Rogue::meet(&listener).await;
    rogue.hello(GuestState::Configured).await;
    let error = timeout(LONG, link.run(large)).await.unwrap().unwrap_err();
    assert!(matches!(error, LinkError::TooLarge { .. }), "{error}");
    assert!(rogue.say(&GuestMsg::Pong).await);
}

#[tokio::test]
async fn secrets_are_not_printed() {
    let request = RunRequest {
        run: "j1".into(),
        argv: vec!["runner".into(), "argument-secret".into()],
        env: vec![("TOKEN".into(), "env-secret".into())],
        user: String::new(),
        owner_of: Vec::new(),
        workdir: String::new(),
    };
    let text = format!("{:?}", HostMsg::Run { request });
    assert!(text.contains("runner") && !text.contains("secret"), "{text}");
}
