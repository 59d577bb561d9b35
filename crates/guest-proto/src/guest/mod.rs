//! The guest's side.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::{ExecRequest, Exit, Identity, JobResult, LogLevel, RunRequest, Stream, WinSize};

pub enum Channel {
    Port(OwnedFd),
    Dial(Box<dyn FnMut() -> io::Result<OwnedFd> + Send>),
}
pub struct About {
    pub agent_version: String,
    pub kernel: String,
    pub boot_us: u64,
}
#[derive(Clone)]
pub struct Session;
impl Session {
    pub fn start(_channel: Channel, _about: About) -> io::Result<Session> {
        unimplemented!()
    }
    pub fn next(&self, _timeout: Duration) -> Option<Event> {
        None
    }
    pub fn configured(&self, _result: Result<(), String>) {}
    pub fn started(&self, _pid: u32) {}
    pub fn exited(&self, _result: JobResult) {}
    pub fn job_output(&self, _stream: Stream) -> JobOutput {
        JobOutput
    }
    pub fn log(&self, _level: LogLevel, _text: &str) {}
    pub fn flush(&self, _timeout: Duration) -> bool {
        false
    }
}
pub enum Event {
    Connected { machine: String },
    Disconnected,
    Configure(Identity),
    PutFile(PutFile),
    GetFile(GetFile),
    Run(RunRequest),
    Signal(i32),
    Exec(Exec),
    PowerOff,
}
pub struct PutFile {
    pub dest: String,
    pub mode: u32,
    pub size: u64,
    pub data: Incoming,
    pub done: Done,
}
pub struct GetFile {
    pub path: String,
    pub data: Outgoing,
    pub done: Done,
}
pub struct Exec {
    pub request: ExecRequest,
    pub stdin: Incoming,
    pub stdout: Outgoing,
    pub stderr: Outgoing,
    pub control: ExecControl,
}
pub struct Done;
impl Done {
    pub fn finish(self, _result: Result<(), String>) {}
}
pub enum ExecSignal {
    Resize(WinSize),
    Gone,
}
#[derive(Clone)]
pub struct ExecControl;
impl ExecControl {
    pub fn next(&self) -> ExecSignal {
        ExecSignal::Gone
    }
    pub fn finish(&self, _exit: Exit) {}
}
pub struct JobOutput;
impl io::Write for JobOutput {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
pub struct Incoming;
impl io::Read for Incoming {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}
pub struct Outgoing;
impl io::Write for Outgoing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
