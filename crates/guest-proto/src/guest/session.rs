//! What the agent sees.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::channel::{Channel, Wire};
use super::io::Io;
use super::job::Phase;
use super::notice::{Notice, StreamId};
use super::output::JobOutput;
use super::state::{About, Shared};
use super::stream::{Done, ExecControl, Handle, Incoming, Outgoing};
use crate::text::line;
use crate::{ExecRequest, Exit, GuestMsg, Identity, JobResult, LogLevel, RunRequest, Stream, Unusable};

/// Something for the agent to do.
pub enum Event {
    /// A host is there.
    Connected {
        /// What it calls this machine.
        machine: String,
    },
    /// The host is gone. Files and execs of its session fail; the job goes on.
    Disconnected,
    /// Wait until the image's own init has come up, and write back what it has written; then call [`Session::settled`].
    Settle {
        /// How long that may take.
        timeout: Duration,
    },
    /// End what is left of the job, and write back the disks that outlive the machine; then call [`Session::released`].
    Release,
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
    /// This is the host's clock, nanoseconds since 1970; some time ago, if the machine is busy.
    Clock {
        /// The time.
        unix_nanos: u64,
    },
    /// End all processes, sync, power off.
    PowerOff,
}

/// A file to write.
pub struct PutFile {
    /// Absolute path.
    pub dest: String,
    /// Permission bits, and the type bits of a directory or a symbolic link, whose target is the content.
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
    /// Of a file, only so many bytes, its last ones.
    pub last: Option<u64>,
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
        let notice = self.shared.wait(Some(timeout), |state| state.events.pop_front())?;
        Some(self.event(notice))
    }

    /// Gives the agent its ends of the streams that a notice names.
    fn event(&self, notice: Notice) -> Event {
        let at = |id: StreamId| Handle { shared: Arc::clone(&self.shared), id };
        match notice {
            Notice::Connected { machine } => Event::Connected { machine },
            Notice::Disconnected => Event::Disconnected,
            Notice::Settle { timeout } => Event::Settle { timeout },
            Notice::Release => Event::Release,
            Notice::Configure(identity) => Event::Configure(identity),
            Notice::PutFile { id, dest, mode, size } => {
                let (data, done) = (Incoming(at(id)), Done(at(id)));
                Event::PutFile(PutFile { dest, mode, size, data, done })
            }
            Notice::GetFile { id, path, last } => {
                let data = Outgoing { handle: at(id), stream: Stream::Stdout };
                Event::GetFile(GetFile { path, last, data, done: Done(at(id)) })
            }
            Notice::Run(request) => Event::Run(request),
            Notice::Signal(signal) => Event::Signal(signal),
            Notice::Exec { id, request } => Event::Exec(Exec {
                request,
                stdin: Incoming(at(id)),
                stdout: Outgoing { handle: at(id), stream: Stream::Stdout },
                stderr: Outgoing { handle: at(id), stream: Stream::Stderr },
                control: ExecControl(at(id)),
            }),
            Notice::Clock { unix_nanos } => Event::Clock { unix_nanos },
            Notice::PowerOff => Event::PowerOff,
        }
    }

    /// Answers [`Event::Settle`].
    pub fn settled(&self, result: Result<(), String>) {
        self.shared.update(|state| {
            state.say(GuestMsg::Settled { error: result.err().map(|text| line(&text)) });
        });
    }

    /// Answers [`Event::Release`].
    pub fn released(&self, result: Result<(), String>) {
        self.shared.update(|state| {
            state.say(GuestMsg::Released { error: result.err().map(|text| line(&text)) });
        });
    }

    /// Answers [`Event::Configure`]; with the disks that outlive the machine and cannot be mounted.
    pub fn configured(&self, result: Result<Vec<Unusable>, String>) {
        self.shared.update(|state| {
            state.job.phase = if result.is_ok() { Phase::Configured } else { Phase::Idle };
            let (error, unusable) = match result {
                Ok(unusable) => (None, unusable),
                Err(text) => (Some(line(&text)), Vec::new()),
            };
            state.say(GuestMsg::Configured { error, unusable });
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
