//! What a link's callers and its task share.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::error::LinkError;
use super::flow::StreamIn;
use super::proof::Proof;
use super::rate::{LogRate, Rate};
use super::run_state::JobIn;
use crate::limits::MAX_HOST_CONTROL;
use crate::{GuestHello, HostMsg, Unusable};

/// Frames that may wait for the writer; each is at most a chunk or one control message.
pub(super) const QUEUE: usize = 32;

/// Something for the writer; boxed on its way, for a queue has room for 32 from its first on. Not `Debug`: it holds environments and files.
pub(super) enum Packet {
    /// An encoded control message.
    Control(Vec<u8>),
    /// Bytes of a stream.
    Data(u32, Vec<u8>),
}

/// A connection with a finished handshake.
#[derive(Clone)]
pub(super) struct Connected {
    /// Counts sessions.
    pub(super) session: u64,
    pub(super) packets: mpsc::Sender<Box<Packet>>,
}

impl Connected {
    /// Queues a message; waits while the guest does not read.
    pub(super) async fn say(&self, message: &HostMsg) -> Result<(), LinkError> {
        let body = serde_json::to_vec(message).map_err(|error| LinkError::Local(error.to_string()))?;
        if body.len() > MAX_HOST_CONTROL {
            let what = "the request (arguments, environment, script)".to_owned();
            return Err(LinkError::TooLarge { what, limit: MAX_HOST_CONTROL as u64 });
        }
        self.packets.send(Box::new(Packet::Control(body))).await.map_err(|_| LinkError::Disconnected)
    }
}

/// The state behind the lock.
pub(super) struct State {
    /// Why the link ended, once it has.
    pub(super) ended: Option<LinkError>,
    pub(super) connected: Option<Connected>,
    /// Since when there is no session, after the first.
    pub(super) lost: Option<Instant>,
    pub(super) session: u64,
    /// What the agent proves itself with.
    pub(super) proof: Proof,
    /// Somebody else than the agent has answered, which was logged.
    pub(super) stranger: bool,
    /// The latest session's.
    pub(super) hello: Option<GuestHello>,
    /// The answer to a `Settle` in this session.
    pub(super) settled: Option<Result<(), String>>,
    /// The answer to a `Release` in this session.
    pub(super) released: Option<Result<(), String>>,
    /// What came with the answer to a `Configure`.
    pub(super) unusable: Vec<Unusable>,
    /// The answer to a `Configure` in this session.
    pub(super) configured: Option<Result<(), String>>,
    pub(super) job: JobIn,
    pub(super) streams: HashMap<u32, StreamIn>,
    /// The number of the next stream of this session; all below were opened by this side.
    pub(super) next_stream: u32,
    /// Streams that nobody wants any more and the guest has to hear about.
    pub(super) resets: Vec<u32>,
    /// Bytes that may still come on closed streams.
    pub(super) grace: u64,
    pub(super) rate: Rate,
    pub(super) log_rate: LogRate,
}

pub(super) struct Shared {
    pub(super) machine: String,
    /// Half of it is for the connection that fell silent, half for the next one.
    pub(super) silence: Duration,
    state: Mutex<State>,
    changed: Notify,
    /// Wakes the writer for acknowledgements and resets.
    pub(super) due: Notify,
}

impl Shared {
    pub(super) fn new(machine: String, silence: Duration, proof: Proof) -> Self {
        Self {
            machine,
            silence,
            state: Mutex::new(State {
                ended: None,
                connected: None,
                lost: None,
                session: 0,
                proof,
                stranger: false,
                hello: None,
                settled: None,
                released: None,
                unusable: Vec::new(),
                configured: None,
                job: JobIn::default(),
                streams: HashMap::new(),
                next_stream: 1,
                resets: Vec::new(),
                grace: 0,
                rate: Rate::default(),
                log_rate: LogRate::default(),
            }),
            changed: Notify::new(),
            due: Notify::new(),
        }
    }

    /// The state. Nothing panics while it holds the lock, so a poisoned one is as good as any.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes all who wait.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_waiters();
        result
    }

    /// Waits until `ready` gives something. Dropping the future loses nothing: `ready` takes only what is returned.
    pub(super) async fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let found = ready(&mut self.lock());
            match found {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }

    /// Waits for a finished handshake.
    pub(super) async fn connected(&self) -> Result<Connected, LinkError> {
        self.wait(|state| match (&state.ended, &state.connected) {
            (Some(error), _) => Some(Err(error.clone())),
            (None, Some(connected)) => Some(Ok(connected.clone())),
            (None, None) => None,
        })
        .await
    }

    /// Ends the link for good; the first reason stays.
    pub(super) fn end(&self, why: LinkError) {
        self.update(|state| {
            state.disconnect();
            state.ended.get_or_insert(why);
        });
    }
}

impl State {
    /// The connection is gone: its streams are cut, the job's output and state stay.
    pub(super) fn disconnect(&mut self) {
        if self.connected.take().is_some() {
            self.lost = Some(Instant::now());
        }
        self.settled = None;
        self.released = None;
        self.configured = None;
        self.resets.clear();
        for stream in self.streams.values_mut() {
            stream.cut();
        }
    }
}
