//! Host and guest together, over a channel that works and over one that does not.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are not seen as tests

use std::time::Duration;

use crate::common::*;
use fireactions_guest_proto::host::{Endpoint, JobEvent, Link, LinkError};
use fireactions_guest_proto::{Exit, GuestState, JobResult, Stream, WinSize};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

fn link(world: &World) -> Link {
    Link::open(Endpoint::Dial(world.socket.clone()), "m0123456789")
}

/// Takes the job's output until the end, skipping what is in `log` already.
async fn drain(link: &Link, log: &mut Vec<(Stream, u8)>) -> Result<JobResult, LinkError> {
    loop {
        match link.next_output().await? {
            JobEvent::Output { stream, offset, data } => {
                let have = log.len() as u64;
                assert!(offset <= have, "a gap: offset {offset}, stored {have}");
                let skip = usize::try_from(have - offset).unwrap().min(data.len());
                log.extend(data[skip..].iter().map(|byte| (stream, *byte)));
            }
            JobEvent::Exited(result) => return Ok(result),
        }
    }
}

fn flat(pieces: &[(Stream, Vec<u8>)]) -> Vec<(Stream, u8)> {
    pieces.iter().flat_map(|(stream, data)| data.iter().map(|byte| (*stream, *byte))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_of_a_job() {
    let pieces = vec![(Stream::Stdout, b"out".to_vec()), (Stream::Stderr, b"err".to_vec())];
    let world = world(vec![], writer(pieces.clone(), 3));
    let link = link(&world);
    timeout(LONG, async {
        let hello = link.hello().await.unwrap();
        assert_eq!((hello.agent_version.as_str(), hello.boot_us, &hello.state), ("1.2.3", 42, &GuestState::Idle));
        assert!(matches!(link.run(request("j1")).await, Err(LinkError::Guest(why)) if why.contains("not configured")));
        let late = link.settle(Duration::from_millis(1)).await.unwrap_err();
        assert!(matches!(&late, LinkError::Guest(why) if why == "its init is not up"), "{late}");
        link.settle(Duration::from_secs(60)).await.unwrap();
        assert_eq!(link.configure(identity()).await.unwrap(), [unusable()]);
        assert_eq!(link.configure(identity()).await.unwrap(), [], "it is told once");
        let busy = link.release().await.unwrap_err();
        assert!(matches!(&busy, LinkError::Guest(why) if why == "it is busy"), "{busy}");
        link.run(request("j1")).await.unwrap();
        link.run(request("j1")).await.unwrap();
        let other = link.run(request("j2")).await.unwrap_err();
        assert_eq!(other, LinkError::Guest("this machine already had its one job, j1".into()));
        let mut log = Vec::new();
        assert_eq!(drain(&link, &mut log).await.unwrap(), result(3));
        assert_eq!(log, flat(&pieces));
        assert_eq!(drain(&link, &mut log).await.unwrap(), result(3), "the end can be asked for again");
        link.release().await.unwrap();
    })
    .await
    .unwrap();
    let told = world.told.lock().unwrap();
    assert_eq!((told.configured, told.runs.clone()), (1, vec!["j1".to_string()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_start() {
    let world = world(vec![], |session| {
        session.exited(JobResult { exit: Exit::Unstartable("no such\tprogram".into()), ..result(0) });
    });
    let link = link(&world);
    timeout(LONG, async {
        link.configure(identity()).await.unwrap();
        let error = link.run(request("j1")).await.unwrap_err();
        assert_eq!(error, LinkError::Unstartable("no such program".into()));
        let JobEvent::Exited(end) = link.next_output().await.unwrap() else { panic!("no end") };
        assert!(matches!(end.exit, Exit::Unstartable(_)));
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_execs_while_a_job_runs() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let world = world(vec![], move |session| {
        session.started(1);
        stopped.recv().unwrap();
        session.exited(result(0));
    });
    let link = link(&world);
    timeout(LONG, async {
        link.configure(identity()).await.unwrap();
        link.run(request("j1")).await.unwrap();
        let content: Vec<u8> = (0..3_000_000u32).map(|i| i.to_le_bytes()[i as usize % 3]).collect();
        let size = content.len() as u64;
        link.put_file("/big", 0o644, size, &content[..]).await.unwrap();
        link.put_file("/empty", 0o600, 0, &[][..]).await.unwrap();
        let denied = link.put_file("/denied", 0o600, 1, &b"x"[..]).await.unwrap_err();
        assert_eq!(denied, LinkError::Guest("/denied: permission denied".into()));
        let short = link.put_file("/short", 0o600, 5, &b"x"[..]).await.unwrap_err();
        assert!(matches!(&short, LinkError::Local(why) if why.contains("after 1 of 5 bytes")), "{short}");
        assert_eq!(world.told.lock().unwrap().files[0], ("/big".to_string(), content.clone()));

        let mut tar = Vec::new();
        assert_eq!(link.get_tar("/file", &mut tar, u64::MAX).await.unwrap(), 250_000);
        assert_eq!(tar, b"/file".repeat(50_000));
        let large = link.get_tar("/file", tokio::io::sink(), 100_000).await.unwrap_err();
        assert!(matches!(large, LinkError::TooLarge { limit: 100_000, .. }));

        let mut echo = link.exec(exec(&["echo"])).await.unwrap();
        let sent = content.clone();
        let feeding = tokio::spawn(async move {
            echo.stdin.write_all(&sent).await.unwrap();
            echo.stdin.shutdown().await.unwrap();
        });
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some((stream, data)) = echo.output.next().await {
            if stream == Stream::Stdout { out.extend(data) } else { err.extend(data) }
        }
        feeding.await.unwrap();
        assert!(out == content, "{} bytes came back", out.len());
        assert_eq!((err.as_slice(), echo.output.exit().await), (&b"done"[..], Ok(Exit::Code(0))));

        let mut size = link.exec(exec(&["size"])).await.unwrap();
        size.control.resize(WinSize { rows: 24, cols: 80 }).await.unwrap();
        // It is written in pieces, and may come in pieces.
        let mut told = Vec::new();
        while let Some((_, data)) = size.output.next().await {
            told.extend(data);
        }
        assert_eq!(told, b"24x80");
        assert_eq!(size.output.exit().await, Ok(Exit::Code(0)));

        let mut missing = link.exec(exec(&["nope"])).await.unwrap();
        assert_eq!(missing.output.exit().await, Ok(Exit::Unstartable("no such program".into())));

        // A hundred of them, one after the other dropped: their streams are given back.
        for _ in 0..100 {
            let mut flood = link.exec(exec(&["flood"])).await.unwrap();
            assert!(flood.output.next().await.is_some());
        }
        let mut flood = link.exec(exec(&["flood"])).await.unwrap();
        flood.control.kill();
        assert_eq!(flood.output.exit().await, Ok(Exit::Signal(9)));

        link.signal(15).await.unwrap();
        while world.told.lock().unwrap().signals != [15] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send(()).unwrap();
        assert_eq!(drain(&link, &mut Vec::new()).await.unwrap(), result(0));
        assert_eq!(link.failure(), None);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_adopts() {
    let data: Vec<u8> = (0..600_000u32).map(|i| (i % 251) as u8).collect();
    let world = world(vec![], writer(vec![(Stream::Stdout, data.clone())], 9));
    let mut log = Vec::new();
    timeout(LONG, async {
        let first = link(&world);
        first.configure(identity()).await.unwrap();
        first.run(request("j1")).await.unwrap();
        for _ in 0..5 {
            let JobEvent::Output { offset, data, .. } = first.next_output().await.unwrap() else { panic!() };
            assert_eq!(offset, log.len() as u64);
            log.extend(data.iter().map(|byte| (Stream::Stdout, *byte)));
        }
        first.close();
        assert_eq!(first.next_output().await, Err(LinkError::Closed));
        drop(first);

        let second = link(&world);
        let (run, acked) = match second.hello().await.unwrap().state {
            GuestState::Running { run, acked, .. } | GuestState::Exited { run, acked, .. } => (run, acked),
            other => panic!("{other:?}"),
        };
        assert_eq!(run, "j1");
        assert!(acked <= log.len() as u64, "nothing is forgotten that was not acknowledged");
        second.configure(identity()).await.unwrap();
        second.run(request("j1")).await.unwrap();
        assert_eq!(drain(&second, &mut log).await.unwrap(), result(9));
        assert_eq!(log.len(), data.len());
        assert!(log.iter().map(|(_, byte)| *byte).eq(data.iter().copied()));
        drop(second);

        // Once more, after the end.
        let third = link(&world);
        assert!(matches!(third.hello().await.unwrap().state, GuestState::Exited { end: 600_000, .. }));
        assert_eq!(drain(&third, &mut log).await.unwrap(), result(9));
        assert_eq!(log.len(), data.len());
    })
    .await
    .unwrap();
    assert_eq!(world.told.lock().unwrap().runs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_host_slows_the_job_down_and_holds_little() {
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&written);
    let world = world(vec![], move |session| {
        session.started(1);
        let mut out = session.job_output(Stream::Stdout);
        for _ in 0..4000 {
            std::io::Write::write_all(&mut out, &[7; 1000]).unwrap();
            count.fetch_add(1000, std::sync::atomic::Ordering::SeqCst);
        }
        session.exited(result(0));
    });
    let link = link(&world);
    timeout(LONG, async {
        link.configure(identity()).await.unwrap();
        link.run(request("j1")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let stalled = written.load(std::sync::atomic::Ordering::SeqCst);
        assert!((1_000_000..=1 << 20).contains(&stalled), "the job wrote {stalled} bytes that nobody took");
        let mut log = Vec::new();
        assert_eq!(drain(&link, &mut log).await.unwrap(), result(0));
        assert_eq!(log.len(), 4_000_000);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_dials_again_and_again() {
    use fireactions_guest_proto::guest::{Channel, Session};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vsock_1024");
    std::fs::write(&path, "left by a dead server").unwrap();
    let dial = path.clone();
    let channel = Channel::Dial(Box::new(move || Ok(std::os::unix::net::UnixStream::connect(&dial)?.into())));
    let session = Session::start(channel, about()).unwrap();
    let told = agent(session, Box::new(writer(vec![(Stream::Stderr, vec![1; 100_000])], 0)));
    timeout(LONG, async {
        let mut log = Vec::new();
        for turn in 0..3 {
            let staging = dir.path().join("staging");
            let link = Link::open(Endpoint::Listen { path: path.clone(), staging }, "m");
            link.configure(identity()).await.unwrap();
            link.run(request("j1")).await.unwrap();
            if turn < 2 {
                assert!(matches!(link.next_output().await.unwrap(), JobEvent::Output { offset: 0, .. }));
            } else {
                assert_eq!(drain(&link, &mut log).await.unwrap(), result(0));
            }
        }
        assert_eq!(log.len(), 100_000);
        // The session answers for the agent, which hears of the connection when its turn comes.
        while told.lock().unwrap().connects < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_ends_files_and_execs_with_a_word_that_says_so() {
    let cut = Cut { up: 200_000, down: usize::MAX, stale: 0, repeat: 0 };
    let world = world(vec![cut], writer(vec![], 0));
    let link = link(&world);
    timeout(LONG, async {
        link.configure(identity()).await.unwrap();
        let mut exec = link.exec(exec(&["flood"])).await.unwrap();
        let content = vec![5; 500_000];
        assert_eq!(link.put_file("/a", 0o600, 500_000, &content[..]).await, Err(LinkError::Disconnected));
        assert_eq!(exec.output.exit().await, Err(LinkError::Disconnected));
        link.put_file("/a", 0o600, 500_000, &content[..]).await.unwrap();
        let mut rest = Vec::new();
        let _ = exec.stdin.read_to_end(&mut rest).await;
        assert_eq!(world.told.lock().unwrap().files.len(), 1);
    })
    .await
    .unwrap();
}

fn pieces() -> impl Strategy<Value = Vec<(Stream, Vec<u8>)>> {
    let piece = (any::<bool>(), any::<u8>(), prop_oneof![1usize..200, 1000usize..60_000]).prop_map(
        |(first, seed, len)| {
            let stream = if first { Stream::Stdout } else { Stream::Stderr };
            (stream, (0..=u8::MAX).cycle().map(|i| i.wrapping_mul(seed)).take(len).collect())
        },
    );
    proptest::collection::vec(piece, 0..60)
}

fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let cut = (
        prop_oneof![1usize..2000, Just(usize::MAX)],
        prop_oneof![1usize..3000, 1usize..400_000],
        prop_oneof![Just(0usize), 1usize..1000, 1usize..(1 << 20)],
        0usize..4,
    )
        .prop_map(|(up, down, stale, repeat)| Cut { up, down, stale, repeat });
    proptest::collection::vec(cut, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Wherever the channel is cut, whatever stale bytes come, however often an acknowledgement is repeated and
    /// whenever the server is restarted: each byte once, in order, and the exit code.
    #[test]
    fn no_fault_loses_or_repeats(pieces in pieces(), cuts in cuts(), code in 0..256i32, restart_every in 3usize..40) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let expected = flat(&pieces);
        let got = runtime.block_on(async {
            let world = world(cuts, writer(pieces, code));
            let mut log: Vec<(Stream, u8)> = Vec::new();
            let mut link = link(&world);
            let work = async {
                link.configure(identity()).await?;
                link.run(request("j1")).await?;
                let mut events = 0;
                loop {
                    match link.next_output().await? {
                        JobEvent::Exited(result) => break Ok((log, result)),
                        JobEvent::Output { stream, offset, data } => {
                            let have = log.len() as u64;
                            assert!(offset <= have, "a gap: offset {offset}, stored {have}");
                            let skip = usize::try_from(have - offset).unwrap().min(data.len());
                            log.extend(data[skip..].iter().map(|byte| (stream, *byte)));
                        }
                    }
                    events += 1;
                    if events % restart_every == 0 {
                        link.close();
                        link = Link::open(Endpoint::Dial(world.socket.clone()), "m");
                    }
                }
            };
            let result: Result<_, LinkError> = timeout(LONG, work).await.expect("it hangs");
            let told = world.told.lock().unwrap();
            assert_eq!((told.configured, told.runs.len()), (1, 1));
            result
        });
        runtime.shutdown_background();
        let (log, end) = got.unwrap();
        prop_assert_eq!(end, result(code));
        prop_assert!(log == expected, "{} bytes came of {}", log.len(), expected.len());
    }
}
