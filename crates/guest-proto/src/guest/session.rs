//! What the agent sees.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::channel::{Channel, Wire};
use super::io::Io;
use super::job::{JobOutput, Phase};
use super::state::{Shared, State};
use super::stream::{Done, ExecControl, Handle, Incoming, Outgoing, StreamState};
use crate::limits::MAX_STREAMS;
use crate::text::line;
use crate::{
    ExecRequest, Exit, GuestHello, GuestMsg, HostMsg, Identity, JobResult, LogLevel, OLDEST_VERSION,
    RunRequest, SECRET_VERSION, Stream, VERSION,
};

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

/// Something for the agent to do.
pub enum Event {
    /// A host is there.
    Connected {
        /// What it calls this machine.
        machine: String,
    },
    /// The host is gone. Files and execs of its session fail; the job goes on.
    Disconnected,
    /// Take this identity, then call [`Session::configured`]. Comes once, unless that reports a failure.
    Configure(Identity),
    /// Write a file.
    PutFile(PutFile),
    /// Send a file or directory.
    GetFile(GetFile),
    /// Start the job, then call [`Session::started`] or [`Session::exited`]. Comes once.
    Run(RunRequest),
    /// Send this signal to all of the job's processes.
    Signal(i32),
    /// Start a program beside the job.
    Exec(Exec),
    /// End all processes, sync, power off.
    PowerOff,
}

/// A file to write.
pub struct PutFile {
    /// Absolute path.
    pub dest: String,
    /// Permission bits.
    pub mode: u32,
    /// Exact size in bytes.
    pub size: u64,
    /// The content. A content that ends early was cut on the host: fail.
    pub data: Incoming,
    /// Where to report.
    pub done: Done,
}

/// A file or directory to send.
pub struct GetFile {
    /// Absolute path.
    pub path: String,
    /// Takes the tar archive.
    pub data: Outgoing,
    /// Where to report.
    pub done: Done,
}

/// A program to start beside the job.
pub struct Exec {
    /// What.
    pub request: ExecRequest,
    /// Its input.
    pub stdin: Incoming,
    /// Takes its output.
    pub stdout: Outgoing,
    /// Takes its errors.
    pub stderr: Outgoing,
    /// Resizing, hang-up, end.
    pub control: ExecControl,
}

/// The guest's end of the channel. Cheap to clone; lives as long as the process.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    /// Starts the thread that serves the channel. It looks for a host again and again, for ever.
    ///
    /// # Errors
    /// When the port cannot be made non-blocking, or there is no descriptor or thread left.
    pub fn start(channel: Channel, about: About) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(about)?);
        let io = Io::new(Arc::clone(&shared), Wire::new(channel)?);
        std::thread::Builder::new().name("host-link".to_owned()).spawn(move || io.run())?;
        Ok(Self { shared })
    }

    /// The next thing to do; `None` when there was none for `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<Event> {
        self.shared.wait(Some(timeout), |state| state.events.pop_front())
    }

    /// Answers [`Event::Configure`].
    pub fn configured(&self, result: Result<(), String>) {
        self.shared.update(|state| {
            state.job.phase = if result.is_ok() { Phase::Configured } else { Phase::Idle };
            state.say(GuestMsg::Configured { error: result.err().map(|text| line(&text)) });
        });
    }

    /// The job's process runs. Its output may be written before or after.
    pub fn started(&self, pid: u32) {
        self.shared.update(|state| state.started(pid));
    }

    /// The job has ended, and all of its output was written. [`Exit::Unstartable`] when it never ran.
    pub fn exited(&self, mut result: JobResult) {
        if let Exit::Unstartable(text) = &mut result.exit {
            *text = line(text);
        }
        self.shared.update(|state| state.exited(result));
    }

    /// Takes one of the job's outputs.
    pub fn job_output(&self, stream: Stream) -> JobOutput {
        JobOutput { shared: Arc::clone(&self.shared), stream }
    }

    /// A line for the host's log. Lost when nobody is there or too many wait.
    pub fn log(&self, level: LogLevel, text: &str) {
        self.shared.update(|state| state.log(level, text));
    }

    /// Waits until everything that can be sent was written to the channel. False when the time was up first.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.shared.wait(Some(timeout), |state| (!state.writing && !state.pending()).then_some(())).is_some()
    }
}

/// A message of the host, inside its session.
pub(super) fn handle(shared: &Arc<Shared>, state: &mut State, message: HostMsg) {
    let session = state.session;
    let at = |stream| Handle { shared: Arc::clone(shared), session, stream };
    match message {
        HostMsg::Hello { .. } => {} // the I/O thread has seen to it
        HostMsg::Configure { identity, secret } => match state.job.phase {
            Phase::Idle => {
                // Kept before anything else is done: whatever cuts the connection now, the next hello proves itself.
                state.secret = secret.or_else(|| state.secret.take());
                state.job.phase = Phase::Configuring;
                state.events.push_back(Event::Configure(identity));
            }
            Phase::Configuring => {} // the answer is on its way
            _ => state.say(GuestMsg::Configured { error: None }),
        },
        HostMsg::Run { request } => run(state, request),
        HostMsg::PutFile { stream, dest, mode, size } => {
            if state.open(stream, Some(size)) {
                let (data, done) = (Incoming(at(stream)), Done(at(stream)));
                state.events.push_back(Event::PutFile(PutFile { dest, mode, size, data, done }));
            } else {
                state.say(GuestMsg::FileDone { stream, error: Some(too_many()) });
            }
        }
        HostMsg::GetFile { stream, path } => {
            if state.open(stream, Some(0)) {
                let data = Outgoing { handle: at(stream), stream: Stream::Stdout };
                state.events.push_back(Event::GetFile(GetFile { path, data, done: Done(at(stream)) }));
            } else {
                state.say(GuestMsg::FileDone { stream, error: Some(too_many()) });
            }
        }
        HostMsg::Exec { stream, request } => {
            if state.open(stream, None) {
                state.events.push_back(Event::Exec(Exec {
                    request,
                    stdin: Incoming(at(stream)),
                    stdout: Outgoing { handle: at(stream), stream: Stream::Stdout },
                    stderr: Outgoing { handle: at(stream), stream: Stream::Stderr },
                    control: ExecControl(at(stream)),
                }));
            } else {
                state.say(GuestMsg::ExecExited { stream, exit: Exit::Unstartable(too_many()) });
            }
        }
        HostMsg::Resize { stream, size } => {
            if let Some(stream) = state.streams.get_mut(&stream) {
                stream.resize(size);
            }
        }
        HostMsg::Eof { stream } => {
            if let Some(stream) = state.streams.get_mut(&stream) {
                stream.end_input();
            }
        }
        HostMsg::Reset { stream } => {
            state.streams.remove(&stream);
        }
        HostMsg::Signal { signal } => state.events.push_back(Event::Signal(signal)),
        HostMsg::Ping => state.say(GuestMsg::Pong),
        HostMsg::PowerOff => state.events.push_back(Event::PowerOff),
    }
}

fn too_many() -> String {
    format!("more than {MAX_STREAMS} file copies and execs at once, or one of this number is open")
}

fn run(state: &mut State, request: RunRequest) {
    let known = match &state.job.phase {
        Phase::Configured => None,
        Phase::Starting { run } | Phase::Running { run, .. } | Phase::Exited { run, .. } => Some(run.clone()),
        Phase::Idle | Phase::Configuring => {
            let error = "the machine is not configured yet".to_owned();
            state.say(GuestMsg::Refused { run: request.run, error });
            return;
        }
    };
    match known {
        None => {
            state.job.phase = Phase::Starting { run: request.run.clone() };
            state.events.push_back(Event::Run(request));
        }
        Some(run) if run == request.run => {
            if let Phase::Running { run, pid } = &state.job.phase {
                let started = GuestMsg::Started { run: run.clone(), pid: *pid };
                state.say(started);
            }
        }
        Some(run) => {
            let error = format!("this machine already had its one job, {run}");
            state.say(GuestMsg::Refused { run: request.run, error });
        }
    }
}

impl State {
    /// Opens a stream; false when it is open already or there are too many.
    fn open(&mut self, stream: u32, expect: Option<u64>) -> bool {
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
}
