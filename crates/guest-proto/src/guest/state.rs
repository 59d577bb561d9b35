//! What the agent's threads and the I/O thread share.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::flow::StreamState;
use super::job::{Job, Phase};
use super::notice::Notice;
use crate::frame::{self, Kind};
use crate::limits::{CHUNK, MAX_STREAMS, STREAM_WINDOW};
use crate::{
    AgentSecret, GuestHello, GuestMsg, JobResult, LogLevel, OLDEST_VERSION, SECRET_VERSION, VERSION,
};

/// Bytes put together before they are written.
const BATCH: usize = 64 * 1024;

/// Log lines that may wait.
const MAX_LOG: usize = 256;

/// What the guest says about itself.
#[derive(Debug, Clone)]
pub struct About {
    /// The agent's version.
    pub agent_version: String,
    /// Kernel release.
    pub kernel: String,
    /// `CLOCK_MONOTONIC` when the agent started, microseconds.
    pub boot_us: u64,
}

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
    pub(super) events: VecDeque<Notice>,
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
            self.events.push_back(Notice::Disconnected);
        }
    }

    /// A host is there.
    pub(super) fn connect(&mut self, nonce: u64, machine: String) {
        self.disconnect();
        self.nonce = Some(nonce);
        self.session += 1;
        self.job.rewind();
        self.events.push_back(Notice::Connected { machine });
    }

    /// Opens a stream; false when it is open already or there are too many.
    pub(super) fn open(&mut self, stream: u32, expect: Option<u64>) -> bool {
        let fits = self.streams.len() < MAX_STREAMS && !self.streams.contains_key(&stream);
        if fits {
            self.streams.insert(stream, StreamState::new(expect));
        }
        fits
    }

    /// The first words of a session.
    pub(super) fn hello(&self, oldest: u16, newest: u16) -> GuestHello {
        let version = if oldest <= VERSION && newest >= OLDEST_VERSION { VERSION.min(newest) } else { 0 };
        GuestHello {
            version,
            agent_version: self.about.agent_version.clone(),
            boot_us: self.about.boot_us,
            kernel: self.about.kernel.clone(),
            state: self.job.state(),
            secret: self.secret.clone().filter(|_| version >= SECRET_VERSION),
        }
    }

    /// The job's process runs.
    pub(super) fn started(&mut self, pid: u32) {
        if let Phase::Starting { run } = &self.job.phase {
            let run = run.clone();
            self.job.phase = Phase::Running { run: run.clone(), pid };
            self.say(GuestMsg::Started { run, pid });
        }
    }

    /// The job has ended.
    pub(super) fn exited(&mut self, result: JobResult) {
        if let Phase::Starting { run } | Phase::Running { run, .. } = &self.job.phase {
            self.job.phase = Phase::Exited { run: run.clone(), result };
        }
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
