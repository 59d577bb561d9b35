//! What a flooding guest costs the host, as the kernel counts it. Alone in its process, so that nothing else counts.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests are not seen as tests

use std::time::Duration;

use fireactions_guest_proto::host::{Endpoint, Exec, Link};
use fireactions_guest_proto::limits::MAX_STREAMS;
use fireactions_guest_proto::{Decoder, ExecRequest, Frame, GuestHello, GuestMsg, GuestState, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn frame(nonce: u64, kind: Kind, channel: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    Frame { kind, channel, stream, nonce, body: body.to_vec() }.encode()
}

/// The worst that the rules allow: a whole window on the job and on every stream, one byte a frame, the two outputs
/// taking turns, while nobody takes anything.
#[tokio::test]
async fn the_worst_flood_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let link = Link::open(Endpoint::Dial(path), "m");
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut buffer = vec![0; 4096];
    let count = socket.read(&mut buffer).await.unwrap();
    let nonce = Decoder::new(1 << 20).next(&mut &buffer[..count]).unwrap().unwrap().nonce;
    let state = GuestState::Running { run: "j".into(), pid: 1, acked: 0 };
    let hello =
        GuestHello { version: 1, agent_version: String::new(), boot_us: 0, kernel: String::new(), state };
    let hello = serde_json::to_vec(&GuestMsg::Hello(hello)).unwrap();
    socket.write_all(&frame(nonce, Kind::Control, 0, 0, &hello)).await.unwrap();
    link.hello().await.unwrap();
    let mut execs: Vec<Exec> = Vec::new();
    for _ in 0..MAX_STREAMS {
        let request =
            ExecRequest { argv: vec![], env: vec![], user: String::new(), workdir: String::new(), tty: None };
        execs.push(link.exec(request).await.unwrap());
    }
    let before = resident_kib();
    let sends = async {
        // 64 KiB of turns on each stream and on the job is enough to see what a byte costs.
        let mut batch = Vec::new();
        for at in 0..64 * 1024u64 {
            let channel = 1 + u8::from(at % 2 == 0);
            batch.extend(frame(nonce, Kind::Job, channel, 0, &[&at.to_le_bytes()[..], b"x"].concat()));
            if at % 8 == 0 {
                for stream in 1..=8 {
                    batch.extend(frame(nonce, Kind::Data, channel, stream, b"x"));
                }
            }
            if batch.len() > 60_000 && socket.write_all(&batch).await.is_err() {
                break;
            }
            if batch.len() > 60_000 {
                batch.clear();
            }
        }
        // And then for ever: it ends when a window is full.
        loop {
            for stream in 1..=u32::try_from(MAX_STREAMS).unwrap() {
                let flood = frame(nonce, Kind::Data, 1, stream, &[b'x'; 8 * 1024]);
                if socket.write_all(&flood).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), sends).await.expect("the host never had enough");
    link.closed().await;
    let grown = resident_kib().saturating_sub(before);
    assert!(link.failure().unwrap().to_string().contains("window"));
    // 64 windows of 256 KiB are 16 MiB; buffers double, and turns cost 17 bytes a byte.
    assert!(grown < 64 * 1024, "the host grew by {grown} KiB");
    drop(execs);
}
