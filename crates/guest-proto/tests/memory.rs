//! What hostile guests cost the host, as the kernel counts it, and how their neighbour on the same thread fares
//! meanwhile. One test, alone in its process, so that nothing else counts.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are not seen as tests

#[path = "it/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use common::rogue::*;
use common::{exec as program, identity, world, writer};
use fireactions_guest_proto::host::{Endpoint, Exec, Link};
use fireactions_guest_proto::limits::MAX_STREAMS;
use fireactions_guest_proto::{Exit, Frame, GuestMsg, GuestState, Kind, LogLevel};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::time::timeout;

/// Longest time for one guest to be got rid of.
const LONG: Duration = Duration::from_secs(120);
/// What a guest tries to send.
const GIB: u64 = 1 << 30;
/// What a guest that breaks a rule may cost.
const BOUND_KIB: u64 = 8 * 1024;
/// Its neighbour's longest wait for an answer. Generous: the machine under test has other work too.
const IN_TIME: Duration = Duration::from_secs(5);

/// What it does; gives how many bytes it could send.
type Play = Pin<Box<dyn Future<Output = u64>>>;

struct Attack {
    what: &'static str,
    /// Words of the reason, or none where the link goes on.
    rule: Option<&'static str>,
    bound_kib: u64,
    play: fn(Rogue, Link, UnixListener) -> Play,
}

fn attack(what: &'static str, rule: &'static str, play: fn(Rogue, Link, UnixListener) -> Play) -> Attack {
    Attack { what, rule: Some(rule), bound_kib: BOUND_KIB, play }
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends the same bytes until they were a GiB or the host hangs up.
async fn pour(rogue: &mut Rogue, bytes: &[u8]) -> u64 {
    let mut sent = 0;
    while sent < GIB && rogue.raw(bytes).await {
        sent += bytes.len() as u64;
    }
    sent
}

/// A frame of a few bytes whose header says that it has a GiB.
fn boast(nonce: u64) -> Vec<u8> {
    let mut raw = vec![1, 1, 0, 0, 0, 0, 0, 0];
    raw.extend(u32::try_from(GIB).unwrap().to_le_bytes());
    raw.extend(nonce.to_le_bytes());
    raw.extend(b"{}");
    // Stuffed by hand: each block is its length, then its bytes without the zero that ends it.
    raw.split(|byte| *byte == 0)
        .flat_map(|block| [&[u8::try_from(block.len() + 1).unwrap()][..], block].concat())
        .chain([0])
        .collect()
}

fn attacks() -> Vec<Attack> {
    let mut attacks = frames();
    attacks.extend(messages());
    attacks
}

/// Bytes that are no frames, or too much of them.
fn frames() -> Vec<Attack> {
    vec![
        attack("a frame that says it has 1 GiB", "malformed", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                let frame = boast(rogue.nonce);
                pour(&mut rogue, &frame).await
            })
        }),
        attack("a frame that goes on for 1 GiB", "longer than the limit", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                pour(&mut rogue, &[1; 64 * 1024]).await
            })
        }),
        attack("the same instead of a greeting", "without an answer", |mut rogue, _, _| {
            Box::pin(async move { pour(&mut rogue, &[1; 64 * 1024]).await })
        }),
        attack("1 GiB of empty frames", "empty frames", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                pour(&mut rogue, &[0; 64 * 1024]).await
            })
        }),
        attack("1 GiB of output that nobody takes", "window", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(running(0)).await;
                let (mut sent, piece) = (0, vec![b'x'; 32 * 1024]);
                while sent < GIB && rogue.job(sent, &piece).await {
                    sent += piece.len() as u64;
                }
                sent
            })
        }),
        Attack {
            what: "a byte now and then",
            rule: None,
            bound_kib: BOUND_KIB,
            play: |mut rogue, _, _| {
                Box::pin(async move {
                    rogue.hello(GuestState::Idle).await;
                    let mut sent = 0;
                    while sent < 20 && rogue.raw(b"x").await {
                        sent += 1;
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    sent
                })
            },
        },
        Attack {
            what: "greets and hangs up, again and again",
            rule: None,
            bound_kib: BOUND_KIB,
            play: |mut rogue, _, listener| {
                Box::pin(async move {
                    for _ in 0..6 {
                        rogue.hello(running(0)).await;
                        drop(rogue);
                        rogue = Rogue::meet(&listener).await;
                    }
                    0
                })
            },
        },
    ]
}

/// Whole frames that break the order or the measure.
fn messages() -> Vec<Attack> {
    vec![
        attack("bytes on 10,000 streams", "never opened", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                let mut stream = 0;
                while stream < 10_000 && rogue.frame(Kind::Data, 1, stream + 1, b"x").await {
                    stream += 1;
                }
                u64::from(stream)
            })
        }),
        attack("the ends of 10,000 streams", "never opened", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                let mut stream = 0;
                while stream < 10_000
                    && rogue.say(&GuestMsg::FileDone { stream: stream + 1, error: None }).await
                {
                    stream += 1;
                }
                u64::from(stream)
            })
        }),
        attack("more credit than there are numbers", "more acknowledged", |mut rogue, link, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                let open = link.exec(exec()).await.unwrap();
                rogue.frame(Kind::Credit, 0, 1, &u64::MAX.to_le_bytes()).await;
                link.closed().await;
                drop(open);
                0
            })
        }),
        attack("pongs", "unasked messages", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                let mut count = 0;
                while count < 1_000_000 && rogue.say(&GuestMsg::Pong).await {
                    count += 1;
                }
                count
            })
        }),
        attack("log lines of 60 KB", "unasked messages", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                let log = GuestMsg::Log { level: LogLevel::Debug, text: "x".repeat(60_000) };
                let mut sent = 0;
                while sent < GIB && rogue.say(&log).await {
                    sent += 60_000;
                }
                sent
            })
        }),
        attack("exits twice with different results", "end out of order", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(running(0)).await;
                for code in 0..2 {
                    let result = ended(code);
                    rogue.say(&GuestMsg::Exited { run: "j1".into(), end: 0, result }).await;
                }
                0
            })
        }),
        attack("greets twice", "second hello", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                rogue.hello(GuestState::Idle).await;
                0
            })
        }),
        attack("JSON without a bottom", "not understood", |mut rogue, _, _| {
            Box::pin(async move {
                rogue.hello(GuestState::Idle).await;
                rogue.frame(Kind::Control, 0, 0, &[b'['; 60_000]).await;
                0
            })
        }),
        // 64 windows of 256 KiB are 16 MiB; buffers double, and turns cost 17 bytes a byte.
        Attack {
            bound_kib: 64 * 1024,
            ..attack("the worst that the rules allow", "window", |rogue, link, _| {
                Box::pin(worst(rogue, link))
            })
        },
    ]
}

/// A whole window on the job and on every stream, one byte a frame, the two outputs taking turns, while nobody takes
/// anything.
async fn worst(mut rogue: Rogue, link: Link) -> u64 {
    let nonce = rogue.nonce;
    let frame = |kind, channel, stream, body: &[u8]| {
        Frame { kind, channel, stream, nonce, body: body.to_vec() }.encode()
    };
    rogue.hello(running(0)).await;
    let mut execs: Vec<Exec> = Vec::new();
    for _ in 0..MAX_STREAMS {
        execs.push(link.exec(exec()).await.unwrap());
    }
    // 64 KiB of turns on some streams and on the job is enough to see what a byte costs.
    let mut batch = Vec::new();
    for at in 0..64 * 1024u64 {
        let channel = 1 + u8::from(at % 2 == 0);
        batch.extend(frame(Kind::Job, channel, 0, &[&at.to_le_bytes()[..], b"x"].concat()));
        if at % 8 == 0 {
            for stream in 1..=8 {
                batch.extend(frame(Kind::Data, channel, stream, b"x"));
            }
        }
        if batch.len() > 60_000 && !rogue.raw(&std::mem::take(&mut batch)).await {
            break;
        }
    }
    // And then for ever: it ends when a window is full.
    let mut sent = 0;
    'flood: loop {
        for stream in 1..=u32::try_from(MAX_STREAMS).unwrap() {
            if sent > GIB || !rogue.frame(Kind::Data, 1, stream, &[b'x'; 8 * 1024]).await {
                break 'flood;
            }
            sent += 8 * 1024;
        }
    }
    link.closed().await;
    drop(execs);
    sent
}

/// A program of a well-behaved guest, from its start to its end.
async fn round_trip(link: &Link) -> Duration {
    let started = Instant::now();
    let mut exec = link.exec(program(&["echo"])).await.unwrap();
    exec.stdin.write_all(b"hello").await.unwrap();
    exec.stdin.shutdown().await.unwrap();
    assert_eq!(exec.output.next().await.unwrap().1, "hello");
    assert_eq!(exec.output.exit().await, Ok(Exit::Code(0)));
    started.elapsed()
}

#[tokio::test]
async fn a_hostile_guest_costs_bounded_memory_and_its_own_link_only() {
    let neighbour = world(vec![], writer(vec![], 0));
    let good = Link::open(Endpoint::Dial(neighbour.socket.clone()), "good");
    timeout(LONG, good.configure(identity())).await.unwrap().unwrap();
    for _ in 0..50 {
        round_trip(&good).await;
    }
    for Attack { what, rule, bound_kib, play } in attacks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let link = Link::open(Endpoint::Dial(path), "bad");
        let rogue = timeout(LONG, Rogue::meet(&listener)).await.unwrap();
        // The kernel forgets the peak.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status_kib("VmRSS:");
        let over = Cell::new(false);
        let bad = async {
            let sent = play(rogue, link.clone(), listener).await;
            if rule.is_some() {
                link.closed().await;
            }
            over.set(true);
            sent
        };
        let meanwhile = async {
            let mut slowest = Duration::ZERO;
            while !over.get() {
                slowest = slowest.max(round_trip(&good).await);
            }
            slowest
        };
        let both = timeout(LONG, async { tokio::join!(bad, meanwhile) });
        let (sent, mut slowest) = both.await.unwrap_or_else(|_| panic!("{what}: the host never had enough"));
        let grown = status_kib("VmHWM:").saturating_sub(before);
        let after = timeout(LONG, round_trip(&good)).await.expect("the neighbour hangs");
        slowest = slowest.max(after);
        let reason = link.failure().map(|error| error.to_string());
        eprintln!(
            "{what}: {grown} KiB more at the peak, {sent} sent, the neighbour waited {slowest:?} at most"
        );
        match rule {
            Some(rule) => {
                assert!(reason.as_ref().is_some_and(|why| why.contains(rule)), "{what}: {reason:?}");
            }
            None => assert_eq!(reason, None, "{what}"),
        }
        assert!(grown < bound_kib, "{what}: the host grew by {grown} KiB");
        assert!(slowest < IN_TIME, "{what}: the neighbour waited {slowest:?}");
        assert!(good.failure().is_none());
    }
}
