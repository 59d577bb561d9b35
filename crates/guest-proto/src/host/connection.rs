//! The task behind a link: connect, shake hands, read and write until something ends it, and again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::endpoint::{Endpoint, Meeting};
use super::error::LinkError;
use super::judge;
use super::state::{Connected, Packet, QUEUE, Shared};
use crate::frame::{self, Frame, Kind};
use crate::limits::{MAX_BODY, MAX_STALE, PING_AFTER, SILENCE};
use crate::{Decoder, GuestMsg, HostMsg, OLDEST_VERSION, VERSION};

/// First and longest pause between two connections.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A greeting that nobody answered is repeated: the agent that took it may have died with it.
const GREET_AGAIN: Duration = Duration::from_secs(2);

/// A connection that lasted this long was a good one.
const LASTED: Duration = Duration::from_secs(10);

/// Why a connection ended.
enum Cut {
    /// To be made again.
    Lost,
    /// The guest is not to be talked to again.
    Fatal(LinkError),
}

impl From<std::io::Error> for Cut {
    fn from(_: std::io::Error) -> Self {
        Cut::Lost
    }
}

/// Keeps a connection until the link is closed.
pub(super) async fn run(shared: Arc<Shared>, endpoint: Endpoint) {
    let mut meeting = Meeting::new(endpoint);
    let mut pause = PAUSES.0;
    let ended = shared.wait(|state| state.ended.is_some().then_some(()));
    let work = async {
        loop {
            if let Ok(socket) = meeting.connect().await {
                let since = Instant::now();
                let (reader, writer) = socket.into_split();
                let cut = serve(&shared, reader, writer).await;
                shared.update(super::state::State::disconnect);
                if let Cut::Fatal(why) = cut {
                    tracing::warn!(machine = shared.machine, "{why}");
                    shared.end(why);
                    return;
                }
                if since.elapsed() >= LASTED {
                    pause = PAUSES.0;
                }
            }
            sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    };
    tokio::select! { () = ended => {} () = work => {} }
}

/// Serves one connection.
async fn serve(shared: &Shared, reader: impl AsyncRead + Unpin, writer: impl AsyncWrite + Unpin) -> Cut {
    let nonce: u64 = rand::random();
    let (packets, queue) = mpsc::channel(QUEUE);
    tokio::select! {
        Err(cut) = read(shared, nonce, packets, reader) => cut,
        Err(cut) = write(shared, nonce, queue, writer) => cut,
        else => Cut::Lost,
    }
}

async fn read(
    shared: &Shared,
    nonce: u64,
    packets: mpsc::Sender<Packet>,
    mut reader: impl AsyncRead + Unpin,
) -> Result<(), Cut> {
    let mut decoder = Decoder::new(MAX_BODY);
    let mut buffer = vec![0; MAX_BODY];
    let mut stale = 0usize;
    let mut greeted = false;
    let mut silent = Duration::ZERO;
    loop {
        let count = match timeout(PING_AFTER, reader.read(&mut buffer)).await {
            Ok(count) => count?,
            Err(_) if !greeted => continue, // still booting
            Err(_) => {
                silent += PING_AFTER;
                if silent >= SILENCE {
                    return Err(Cut::Lost);
                }
                // A full queue means that the guest does not read either; silence will tell.
                let _ =
                    serde_json::to_vec(&HostMsg::Ping).map(|ping| packets.try_send(Packet::Control(ping)));
                continue;
            }
        };
        if count == 0 {
            return Err(Cut::Lost);
        }
        silent = Duration::ZERO;
        let mut rest = &buffer[..count];
        if !greeted {
            stale += count;
        }
        while let Some(decoded) = decoder.next(&mut rest) {
            if greeted {
                let frame = decoded.map_err(|error| fatal(error.to_string()))?;
                if frame.nonce != nonce {
                    return Err(fatal("a frame of another session".to_owned()));
                }
                let judged = shared.update(|state| judge::frame(state, &frame, &shared.machine));
                judged.map_err(fatal)?;
            } else if let Some(message) = decoded.ok().filter(|frame| frame.nonce == nonce) {
                greet(shared, &message, packets.clone())?;
                greeted = true;
            }
        }
        if !greeted && stale > MAX_STALE {
            return Err(fatal(format!("{MAX_STALE} bytes without an answer to the greeting")));
        }
    }
}

fn fatal(rule: String) -> Cut {
    Cut::Fatal(LinkError::Protocol(rule))
}

/// Judges the answer to the greeting and opens the session.
fn greet(shared: &Shared, frame: &Frame, packets: mpsc::Sender<Packet>) -> Result<(), Cut> {
    let hello = match serde_json::from_slice(&frame.body) {
        Ok(GuestMsg::Hello(hello)) if frame.kind == Kind::Control => hello,
        _ => return Err(fatal("a first frame that is no greeting".to_owned())),
    };
    if !(OLDEST_VERSION..=VERSION).contains(&hello.version) {
        return Err(Cut::Fatal(LinkError::Version { oldest: OLDEST_VERSION, newest: VERSION }));
    }
    shared
        .update(|state| {
            judge::hello(state, hello)?;
            state.session += 1;
            state.next_stream = 1;
            state.grace = 0;
            state.connected = Some(Connected { session: state.session, packets });
            state.lost = None;
            Ok(())
        })
        .map_err(fatal)?;
    // An acknowledgement may have been lost with the last connection.
    shared.due.notify_one();
    Ok(())
}

async fn write(
    shared: &Shared,
    nonce: u64,
    mut queue: mpsc::Receiver<Packet>,
    mut writer: impl AsyncWrite + Unpin,
) -> Result<(), Cut> {
    let machine = shared.machine.clone();
    let hello = HostMsg::Hello { oldest: OLDEST_VERSION, newest: VERSION, machine };
    let mut greeting = vec![0];
    frame::write_control(&mut greeting, nonce, &hello);
    writer.write_all(&greeting).await?;
    let before = shared.lock().session;
    let mut out = Vec::new();
    loop {
        tokio::select! {
            packet = queue.recv() => match packet {
                Some(Packet::Control(body)) => frame::write(&mut out, nonce, Kind::Control, 0, 0, &[&body]),
                Some(Packet::Data(stream, data)) => frame::write(&mut out, nonce, Kind::Data, 0, stream, &[&data]),
                None => return Err(Cut::Lost),
            },
            () = shared.due.notified() => due(shared, nonce, &mut out),
            () = sleep(GREET_AGAIN), if shared.lock().session == before => out.extend_from_slice(&greeting),
        }
        writer.write_all(&out).await?;
        out.clear();
    }
}

/// Adds acknowledgements and resets, whatever has become of them since they were announced.
fn due(shared: &Shared, nonce: u64, out: &mut Vec<u8>) {
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
