//! The task behind a link: have a session with the agent, read and write until something ends it, and again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout_at};

use super::beat;
use super::endpoint::{Endpoint, Meeting};
use super::greeting::{Cut, Greeted, RESTING, meet, turn_away};
use super::inbound::Inbound;
use super::state::{Packet, Shared};
use crate::HostMsg;
use crate::frame::{self, Kind};
use crate::limits::{MAX_BODY, PING_AFTER};

/// First and longest pause between two connections.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A connection that lasted this long was a good one.
const LASTED: Duration = Duration::from_secs(10);

/// Keeps a connection until the link is closed. `_runs` is dropped when its sockets are.
pub(super) async fn run(shared: Arc<Shared>, endpoint: Endpoint, _runs: watch::Sender<()>) {
    let mut meeting = Meeting::new(endpoint);
    let mut pause = PAUSES.0;
    let ended = shared.wait(|state| state.ended.is_some().then_some(()));
    let work = async {
        loop {
            let since = Instant::now();
            let cut = match meet(&mut meeting, &shared).await {
                Ok(greeted) => tokio::select! {
                    cut = serve(&shared, greeted) => cut,
                    never = turn_away(&mut meeting) => match never {},
                },
                Err(cut) => cut,
            };
            shared.update(super::state::State::disconnect);
            if let Cut::Fatal(why) = cut {
                tracing::warn!(machine = shared.machine, "{why}");
                shared.end(why);
                return;
            }
            if since.elapsed() >= LASTED {
                pause = PAUSES.0;
            }
            sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    };
    tokio::select! { () = ended => {} () = work => {} }
}

/// Serves a session to its end.
async fn serve<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(shared: &Shared, greeted: Greeted<R, W>) -> Cut {
    let Greeted { reader, writer, inbound, nonce, packets, queue } = greeted;
    tokio::select! {
        Err(cut) = read(shared, inbound, packets, reader) => cut,
        Err(cut) = write(shared, nonce, queue, writer) => cut,
    }
}

async fn read(
    shared: &Shared,
    mut inbound: Inbound,
    packets: mpsc::Sender<Box<Packet>>,
    mut reader: impl AsyncRead + Unpin,
) -> Result<Infallible, Cut> {
    let mut buffer = vec![0; RESTING];
    // Whole frames are signs of life; bytes are not, or a guest could drip one now and then for ever.
    let mut heard = tokio::time::Instant::now();
    let silence = shared.silence / 2;
    let ping_after = PING_AFTER.min(silence / 2);
    let mut next_ping = beat::before(ping_after);
    loop {
        let read = timeout_at(next_ping.min(heard + silence), reader.read(&mut buffer)).await;
        // Also of a guest that talks all the time: its clock follows the time in it.
        if tokio::time::Instant::now() >= next_ping {
            next_ping = beat::before(ping_after);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            let unix_nanos = now.and_then(|now| u64::try_from(now.as_nanos()).ok());
            // A full queue means that the guest does not read either; silence will tell.
            let _ = serde_json::to_vec(&HostMsg::Ping { unix_nanos })
                .map(|ping| packets.try_send(Box::new(Packet::Control(ping))));
        }
        let Ok(count) = read else {
            if buffer.len() > RESTING {
                buffer = vec![0; RESTING];
            }
            if heard.elapsed() >= silence {
                return Err(Cut::Lost);
            }
            continue;
        };
        let count = count?;
        if count == 0 {
            return Err(Cut::Lost);
        }
        if inbound.take(&buffer[..count]).map_err(|refusal| refusal.cut(shared))? {
            heard = tokio::time::Instant::now();
        } else if heard.elapsed() >= silence {
            return Err(Cut::Lost);
        }
        if count == buffer.len() && count < MAX_BODY {
            buffer.resize(MAX_BODY, 0);
        }
    }
}

async fn write(
    shared: &Shared,
    nonce: u64,
    mut queue: mpsc::Receiver<Box<Packet>>,
    mut writer: impl AsyncWrite + Unpin,
) -> Result<Infallible, Cut> {
    // Ends a greeting that was being repeated when the answer came; goes with what is said first.
    let mut first: &[u8] = &[0];
    loop {
        // Made anew each time: most links are silent most of the time, and there may be a thousand of them.
        let mut out = first.to_vec();
        tokio::select! {
            packet = queue.recv() => match packet {
                Some(packet) => add(&mut out, nonce, &packet),
                None => return Err(Cut::Lost),
            },
            () = shared.due.notified() => {
                // Before the resets among what is due: the guest must know a stream before it is told that nobody wants it.
                while let Ok(packet) = queue.try_recv() {
                    add(&mut out, nonce, &packet);
                }
                due(shared, nonce, &mut out);
            }
        }
        if out.len() > first.len() {
            writer.write_all(&out).await?;
            first = &[];
        }
    }
}

fn add(out: &mut Vec<u8>, nonce: u64, packet: &Packet) {
    match packet {
        Packet::Control(body) => frame::write(out, nonce, Kind::Control, 0, 0, &[body]),
        Packet::Data(stream, data) => frame::write(out, nonce, Kind::Data, 0, *stream, &[data]),
    }
}

/// Adds acknowledgements and resets, whatever has become of them since they were announced.
pub(super) fn due(shared: &Shared, nonce: u64, out: &mut Vec<u8>) {
    let mut state = shared.lock();
    if state.connected.is_none() {
        return;
    }
    if let Some(offset) = state.job.due_ack() {
        frame::write_credit(out, nonce, 0, offset);
    }
    for stream in std::mem::take(&mut state.resets) {
        frame::write_control(out, nonce, &HostMsg::Reset { stream });
    }
    let session = state.session;
    for (id, stream) in &mut state.streams {
        if stream.session == session
            && let Some(consumed) = stream.due_credit()
        {
            frame::write_credit(out, nonce, *id, consumed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::greeting::greet;
    use super::super::proof::Proof;
    use super::*;
    use tokio::time::timeout;

    use crate::limits::SILENCE;
    use crate::{Decoder, GuestHello, GuestMsg, GuestState};

    /// Greets as a guest does; the session's number.
    async fn hello(guest: &mut tokio::io::DuplexStream) -> u64 {
        let mut bytes = vec![0; 4096];
        let count = guest.read(&mut bytes).await.unwrap();
        let nonce = Decoder::new(4096).next(&mut &bytes[..count]).unwrap().unwrap().nonce;
        let hello = GuestHello {
            version: 1,
            agent_version: String::new(),
            boot_us: 0,
            kernel: String::new(),
            state: GuestState::Idle,
            secret: None,
        };
        let mut wire = Vec::new();
        frame::write_control(&mut wire, nonce, &GuestMsg::Hello(hello));
        guest.write_all(&wire).await.unwrap();
        nonce
    }

    /// Greets and then sends the beginning of a frame, one byte a second.
    async fn drip(mut guest: tokio::io::DuplexStream) {
        hello(&mut guest).await;
        while guest.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_guest_is_a_silent_one() {
        let shared = Arc::new(Shared::new("m".to_owned(), SILENCE, Proof::default()));
        let (host, guest) = tokio::io::duplex(1 << 16);
        let (reader, writer) = tokio::io::split(host);
        let since = tokio::time::Instant::now();
        let ((cut, lasted), ()) = tokio::join!(
            async {
                let greeted = greet(&shared, reader, writer).await;
                let cut = serve(&shared, greeted.ok().unwrap()).await;
                assert_eq!(shared.lock().session, 1, "it had greeted");
                (cut, since.elapsed())
            },
            async {
                let _ = timeout(SILENCE * 4, drip(guest)).await;
            }
        );
        assert!(matches!(cut, Cut::Lost));
        assert!((SILENCE / 2..SILENCE / 2 + PING_AFTER).contains(&lasted), "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_talks_all_the_time_hears_the_hosts_time() {
        let shared = Arc::new(Shared::new("m".to_owned(), SILENCE, Proof::default()));
        let (host, mut guest) = tokio::io::duplex(1 << 16);
        let (reader, writer) = tokio::io::split(host);
        let serving = async {
            let greeted = greet(&shared, reader, writer).await;
            serve(&shared, greeted.ok().unwrap()).await
        };
        let talk = async {
            let nonce = hello(&mut guest).await;
            let mut heard = Vec::new();
            for _ in 0..PING_AFTER.as_secs() * 4 {
                let mut pong = Vec::new();
                frame::write_control(&mut pong, nonce, &GuestMsg::Pong);
                guest.write_all(&pong).await.unwrap();
                sleep(Duration::from_secs(1)).await;
                let mut some = [0; 4096];
                if let Ok(count) = timeout(Duration::ZERO, guest.read(&mut some)).await {
                    heard.extend_from_slice(&some[..count.unwrap()]);
                }
            }
            String::from_utf8_lossy(&heard).matches("unix_nanos").count()
        };
        tokio::select! {
            cut = serving => panic!("{cut:?}"),
            pings = talk => assert!((3..=5).contains(&pings), "{pings}"),
        }
    }

    #[tokio::test]
    async fn nobody_wants_a_stream_only_after_it_was_opened() {
        for _ in 0..64 {
            let shared = Arc::new(Shared::new("m".to_owned(), SILENCE, Proof::default()));
            let (packets, queue) = mpsc::channel(8);
            shared.lock().connected =
                Some(super::super::state::Connected { packets: packets.clone(), session: 1 });
            let (host, mut guest) = tokio::io::duplex(1 << 16);
            packets.try_send(Box::new(Packet::Control(b"opens".to_vec()))).unwrap();
            shared.lock().resets.push(7);
            shared.due.notify_one();
            let read = async {
                let mut text = String::new();
                while !(text.contains("opens") && text.contains("reset")) {
                    let mut some = [0; 256];
                    let count = guest.read(&mut some).await.unwrap();
                    text.push_str(&String::from_utf8_lossy(&some[..count]));
                }
                text.find("opens") < text.find("reset")
            };
            tokio::select! {
                cut = write(&shared, 1, queue, host) => panic!("{cut:?}"),
                in_order = read => assert!(in_order),
            }
        }
    }
}
