//! A socket to the kernel's netfilter. The kernel works while a request is being sent, and has answered when that
//! returns; so nothing waits here but for the locks inside the kernel.
//!
//! The socket stays open for the network's life. One that is closed after it removed rules is kept by the kernel until
//! the packets that may still look at them are through (`nft_rcv_nl_event`, net/netfilter/nf_tables_api.c), which takes
//! ten to twenty milliseconds; each start of `nft` that removed something took that much longer.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::constants::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use super::message::{Attributes, NFGENMSG, messages, push};
use super::{NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END};
use super::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Room for the answers to one request.
const RECEIVE: usize = 1 << 20;
/// How often a list is asked for that changes while it is read.
const TRIES: u32 = 10;

/// What the kernel said no to.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(crate) struct Refusal {
    /// The number of the message.
    pub(crate) message: u32,
    pub(crate) source: io::Error,
}

impl From<io::Error> for Refusal {
    fn from(source: io::Error) -> Self {
        Self { message: 0, source }
    }
}

/// A connection to netfilter in the network namespace of the thread that made it.
#[derive(Debug)]
pub(crate) struct Channel(Mutex<Socket>);

impl Channel {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        // Refusals without the whole message that was refused.
        socket.set_cap_ack(true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE)?;
        Ok(Self(Mutex::new(socket)))
    }

    /// One request that has no answer but that it was done.
    pub(crate) fn ask(&self, kind: u16, family: u8, attributes: &Attributes) -> Result<(), Refusal> {
        let mut request = Vec::new();
        push(&mut request, kind, NLM_F_REQUEST | NLM_F_ACK, 0, (family, 0), attributes);
        let line = self.line()?;
        send(&line, &request)?;
        acknowledged(&line)
    }

    /// One request that has one answer: its attributes.
    pub(crate) fn get(&self, kind: u16, answer: u16) -> io::Result<Vec<u8>> {
        let mut request = Vec::new();
        push(&mut request, kind, NLM_F_REQUEST, 0, (0, 0), &Attributes::default());
        let line = self.line()?;
        send(&line, &request)?;
        let (datagram, _) = line.recv_from_full()?;
        let message = messages(&datagram).find(|message| message.kind == answer);
        let attributes = message.and_then(|message| Some(message.payload.get(NFGENMSG..)?.to_vec()));
        attributes.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    /// All or nothing of these messages, of which the last one asks for an acknowledgement.
    pub(crate) fn transact(&self, subsystem: u16, changes: &[u8]) -> Result<(), Refusal> {
        let mut batch = Vec::with_capacity(changes.len() + 40);
        let edge = |batch: &mut Vec<u8>, kind| {
            push(batch, kind, NLM_F_REQUEST, 0, (0, subsystem), &Attributes::default());
        };
        edge(&mut batch, NFNL_MSG_BATCH_BEGIN);
        batch.extend(changes);
        edge(&mut batch, NFNL_MSG_BATCH_END);
        let line = self.line()?;
        send(&line, &batch)?;
        acknowledged(&line)
    }

    /// Everything of a kind, told with each answer's attributes. What changes while it is read is read again.
    pub(crate) fn dump<T: Default>(
        &self,
        kind: u16,
        family: u8,
        attributes: &Attributes,
        each: impl Fn(&mut T, &[u8]),
    ) -> Result<T, Refusal> {
        let mut request = Vec::new();
        push(&mut request, kind, NLM_F_REQUEST | NLM_F_DUMP, 0, (family, 0), attributes);
        let line = self.line()?;
        for _ in 0..TRIES {
            send(&line, &request)?;
            let mut all = T::default();
            if dumped(&line, |attributes| each(&mut all, attributes))? {
                return Ok(all);
            }
        }
        Err(io::Error::from_raw_os_error(libc::EINTR).into())
    }

    /// The socket, without what an earlier request left unread.
    fn line(&self) -> io::Result<MutexGuard<'_, Socket>> {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match socket.recv_from_full() {
                Ok(_) => {}
                // Answers were lost: nobody waits for them any more.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(socket),
                Err(error) => return Err(error),
            }
        }
    }
}

fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    // One message that is larger than the buffer is refused, whatever else is in it.
    setsockopt(socket, sockopt::SndBufForce, &bytes.len().saturating_add(RECEIVE))?;
    let sent = socket.send(bytes, 0)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
}

/// Reads the answers to one request: fine if it was acknowledged and nothing was refused.
fn acknowledged(socket: &Socket) -> Result<(), Refusal> {
    let mut done = false;
    loop {
        let datagram = match socket.recv_from_full() {
            Ok((datagram, _)) => datagram,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        };
        for message in messages(&datagram).filter(|message| message.kind == NLMSG_ERROR) {
            match code(message.payload) {
                0 => done = true,
                code => {
                    let source = io::Error::from_raw_os_error(-code);
                    return Err(Refusal { message: message.sequence, source });
                }
            }
        }
    }
    if done { Ok(()) } else { Err(io::Error::from(io::ErrorKind::InvalidData).into()) }
}

/// Reads a list to its end; false if it changed on the way.
fn dumped(socket: &Socket, mut each: impl FnMut(&[u8])) -> Result<bool, Refusal> {
    let mut whole = true;
    loop {
        // The kernel writes the next part when one was read, so there is always one until the end.
        let (datagram, _) = socket.recv_from_full()?;
        for message in messages(&datagram) {
            whole &= message.flags & NLM_F_DUMP_INTR == 0;
            match (message.kind, code(message.payload)) {
                (NLMSG_DONE, 0..) => return Ok(whole),
                (NLMSG_DONE | NLMSG_ERROR, code) => {
                    return Err(io::Error::from_raw_os_error(-code).into());
                }
                _ => each(message.payload.get(NFGENMSG..).unwrap_or_default()),
            }
        }
    }
}

/// The number at the start of an answer: zero, or the negative of an error's.
fn code(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(-libc::EBADMSG, |bytes| i32::from_ne_bytes(*bytes))
}
