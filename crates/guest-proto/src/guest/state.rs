//! What the agent's threads and the I/O thread share.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::job::Job;
use super::session::{About, Event};
use super::stream::StreamState;
use crate::frame::{self, Kind};
use crate::limits::{CHUNK, STREAM_WINDOW};
use crate::{AgentSecret, GuestMsg, LogLevel};

/// Bytes put together before they are written.
const BATCH: usize = 64 * 1024;

/// Log lines that may wait.
const MAX_LOG: usize = 256;

pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    wake: OwnedFd,
}

/// The state behind the lock.
pub(super) struct State {
    pub(super) about: About,
    /// Came with the identity.
    pub(super) secret: Option<AgentSecret>,
    /// Nonce of the session with a host that is there now.
    pub(super) nonce: Option<u64>,
    /// Counts sessions, so that a stream's handle does not reach a later session's stream of the same number.
    pub(super) session: u64,
    pub(super) control: VecDeque<GuestMsg>,
    pub(super) events: VecDeque<Event>,
    pub(super) job: Job,
    pub(super) streams: BTreeMap<u32, StreamState>,
    /// The stream that sent last, so that all get their turn.
    turn: u32,
    /// The I/O thread holds bytes that are not written yet.
    pub(super) writing: bool,
}

impl Shared {
    pub(super) fn new(about: About) -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self {
            state: Mutex::new(State {
                about,
                secret: None,
                nonce: None,
                session: 0,
                control: VecDeque::new(),
                events: VecDeque::new(),
                job: Job::default(),
                streams: BTreeMap::new(),
                turn: 0,
                writing: false,
            }),
            changed: Condvar::new(),
            wake: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// The state. A thread that panicked cannot have left it half changed in a way that matters more than going on.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes everybody who waits for a change, the I/O thread included.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        self.wake();
        result
    }

    /// Wakes the agent's threads only.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    fn wake(&self) {
        // A full counter means that a wake-up is already due.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    pub(super) fn wake_fd(&self) -> &OwnedFd {
        &self.wake
    }

    pub(super) fn woken(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
    }

    /// Waits until `ready` gives something or the time is up.
    pub(super) fn wait<T>(
        &self,
        timeout: Option<Duration>,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.lock();
        loop {
            if let Some(found) = ready(&mut state) {
                return Some(found);
            }
            state = match deadline {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left =
                        deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl State {
    /// Queues a message if somebody is there to hear it.
    pub(super) fn say(&mut self, message: GuestMsg) {
        if self.nonce.is_some() {
            self.control.push_back(message);
        }
    }

    pub(super) fn log(&mut self, level: LogLevel, text: &str) {
        if self.control.len() < MAX_LOG {
            self.say(GuestMsg::Log { level, text: crate::text::line(text) });
        }
    }

    /// The host is gone: what belongs to its session is over.
    pub(super) fn disconnect(&mut self) {
        if self.nonce.take().is_some() {
            self.streams.clear();
            self.control.clear();
            self.events.push_back(Event::Disconnected);
        }
    }

    /// A host is there.
    pub(super) fn connect(&mut self, nonce: u64, machine: String) {
        self.disconnect();
        self.nonce = Some(nonce);
        self.session += 1;
        self.job.rewind();
        self.events.push_back(Event::Connected { machine });
    }

    /// True when [`State::fill`] has something to add.
    pub(super) fn pending(&self) -> bool {
        self.nonce.is_some()
            && (!self.control.is_empty()
                || self.job.pending()
                || self.streams.values().any(StreamState::pending))
    }

    /// Adds frames to `out` until it is a batch or nothing is left: answers first, then everybody in turn.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>) {
        let Some(nonce) = self.nonce else { return };
        while out.len() < BATCH {
            let before = out.len();
            if let Some(message) = self.control.pop_front() {
                frame::write_control(out, nonce, &message);
                continue;
            }
            self.job.fill(nonce, out);
            self.fill_stream(nonce, out);
            if out.len() == before {
                break;
            }
        }
    }

    /// Lets the next stream that has something say it.
    fn fill_stream(&mut self, nonce: u64, out: &mut Vec<u8>) {
        let next = self
            .streams
            .range(self.turn.saturating_add(1)..)
            .chain(self.streams.range(..=self.turn))
            .find(|(_, stream)| stream.pending())
            .map(|(id, _)| *id);
        let Some(id) = next else { return };
        self.turn = id;
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if let Some(consumed) = stream.due_credit() {
            frame::write_credit(out, nonce, id, consumed);
        }
        let room = stream.credit + STREAM_WINDOW - stream.sent.min(stream.credit + STREAM_WINDOW);
        let max = CHUNK.min(usize::try_from(room).unwrap_or(CHUNK));
        if max > 0
            && let Some((which, data)) = stream.output.read(stream.sent, max)
        {
            frame::write(out, nonce, Kind::Data, frame::channel(which), id, &[&data]);
            stream.sent += data.len() as u64;
            stream.output.discard(stream.sent);
        }
        if stream.output.len() == 0
            && let Some(last) = stream.last.take()
        {
            frame::write_control(out, nonce, &last);
            self.streams.remove(&id);
        }
    }
}
