//! From a connection to a session: the greeting, and whether it is the agent that answers.
//!
//! Where the guest dials, anybody in it may do so, as often as it likes, and say nothing. So a few are heard at a time, each
//! for a while, and the first that proves to be the agent has the session.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::endpoint::Meeting;
use super::error::LinkError;
use super::inbound::{Inbound, Refusal};
use super::state::{Packet, QUEUE, Shared};
use crate::{HostMsg, VERSION, frame};

/// A greeting that nobody answered is repeated: the agent that took it may have died with it.
const GREET_AGAIN: Duration = Duration::from_secs(2);

/// Who dials is up and answers at once; a guest without processor time may take this long, and dials again after that.
const ANSWER: Duration = Duration::from_secs(5);

/// Connections of a guest that are heard at a time.
const HEARD: usize = 8;

/// Between two connections of a guest that were taken in vain: it can make them faster than the host should look at them.
const BREATH: Duration = Duration::from_millis(10);

/// The read buffer of a guest that says little, as most do most of the time: there may be a thousand of them.
pub(super) const RESTING: usize = 512;

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Cut {
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

impl Refusal {
    /// Why the connection ends that this refusal is for.
    pub(super) fn cut(self, shared: &Shared) -> Cut {
        match self {
            Refusal::Fatal(error) => Cut::Fatal(error),
            Refusal::Stranger => {
                if !shared.update(|state| std::mem::replace(&mut state.stranger, true)) {
                    tracing::warn!(
                        machine = shared.machine,
                        "a process in the guest that is not its agent answers instead of the agent; it is \
                         not trusted, and this is logged only once"
                    );
                }
                Cut::Lost
            }
        }
    }
}

/// A connection whose other end has answered the greeting as the machine's agent; the session is open.
pub(super) struct Greeted<R, W> {
    pub(super) reader: R,
    pub(super) writer: W,
    pub(super) inbound: Inbound,
    pub(super) nonce: u64,
    pub(super) packets: mpsc::Sender<Box<Packet>>,
    pub(super) queue: mpsc::Receiver<Box<Packet>>,
}

/// Greets until there is an answer.
pub(super) async fn greet<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    shared: &Arc<Shared>,
    mut reader: R,
    mut writer: W,
) -> Result<Greeted<R, W>, Cut> {
    let nonce: u64 = rand::random();
    let (packets, queue) = mpsc::channel(QUEUE);
    let mut inbound = Inbound::new(Arc::clone(shared), nonce, packets.clone());
    let answer = async {
        let mut buffer = vec![0; RESTING];
        while !inbound.greeted() {
            let count = reader.read(&mut buffer).await?;
            if count == 0 {
                return Err(Cut::Lost);
            }
            inbound.take(&buffer[..count]).map_err(|refusal| refusal.cut(shared))?;
        }
        Ok(())
    };
    tokio::select! {
        // An answer that is there counts, also when the guest has closed its half.
        biased;
        answer = answer => answer?,
        Err(cut) = say_hello(shared, nonce, &mut writer) => return Err(cut),
    }
    Ok(Greeted { reader, writer, inbound, nonce, packets, queue })
}

/// Says hello, again and again.
async fn say_hello(
    shared: &Shared,
    nonce: u64,
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<Infallible, Cut> {
    let oldest = shared.lock().proof.oldest_version();
    let hello = HostMsg::Hello { oldest, newest: VERSION, machine: shared.machine.clone() };
    let mut greeting = vec![0];
    frame::write_control(&mut greeting, nonce, &hello);
    loop {
        writer.write_all(&greeting).await?;
        sleep(GREET_AGAIN).await;
    }
}

/// Makes connections until one is the agent's.
pub(super) async fn meet(
    meeting: &mut Meeting,
    shared: &Arc<Shared>,
) -> Result<Greeted<OwnedReadHalf, OwnedWriteHalf>, Cut> {
    if !meeting.is_dialled_by_guest() {
        let (reader, writer) = meeting.connect().await?.into_split();
        return greet(shared, reader, writer).await;
    }
    let mut heard = FuturesUnordered::new();
    let mut not_before = Instant::now();
    loop {
        let next = async {
            sleep_until(not_before).await;
            meeting.connect().await
        };
        tokio::select! {
            biased;
            Some(answer) = heard.next() => match answer {
                Ok(Ok(greeted)) => return Ok(greeted),
                Ok(Err(Cut::Fatal(error))) => return Err(Cut::Fatal(error)),
                Ok(Err(Cut::Lost)) | Err(_) => not_before = Instant::now() + BREATH,
            },
            socket = next, if heard.len() < HEARD => {
                let (reader, writer) = socket?.into_split();
                heard.push(timeout(ANSWER, greet(shared, reader, writer)));
            }
        }
    }
}

/// Lets nobody wait in a guest's queue while its agent has the session. Whoever is first there when that ends would be
/// heard before the agent.
pub(super) async fn turn_away(meeting: &mut Meeting) -> Infallible {
    if !meeting.is_dialled_by_guest() {
        std::future::pending::<()>().await;
    }
    loop {
        // What cannot be accepted now is there the next time.
        drop(meeting.connect().await);
        sleep(BREATH).await;
    }
}
