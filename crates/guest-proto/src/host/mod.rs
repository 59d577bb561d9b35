//! The host's side.

use std::path::PathBuf;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

use crate::{ExecRequest, Exit, GuestHello, Identity, JobResult, RunRequest, Stream, WinSize};

mod error;
pub use error::LinkError;

#[derive(Debug, Clone)]
pub enum Endpoint {
    Dial(PathBuf),
    Listen(PathBuf),
}
#[derive(Debug)]
pub enum JobEvent {
    Output { stream: Stream, offset: u64, data: Bytes },
    Exited(JobResult),
}
#[derive(Clone)]
pub struct Link;
pub type ExecStdin = DuplexStream;
pub struct Exec {
    pub stdin: ExecStdin,
    pub output: ExecOutput,
    pub control: ExecControl,
}
pub struct ExecOutput;
impl ExecOutput {
    pub async fn next(&mut self) -> Option<(Stream, Bytes)> {
        None
    }
    pub async fn exit(&mut self) -> Result<Exit, LinkError> {
        Err(LinkError::Closed)
    }
}
#[derive(Clone)]
pub struct ExecControl;
impl ExecControl {
    pub async fn resize(&self, _size: WinSize) -> Result<(), LinkError> {
        Err(LinkError::Closed)
    }
    pub fn kill(&self) {}
}
impl Link {
    pub fn open(_endpoint: Endpoint, _machine: impl Into<String>) -> Link {
        Link
    }
    pub async fn hello(&self) -> Result<GuestHello, LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn configure(&self, _identity: Identity) -> Result<(), LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn put_file(
        &self,
        _dest: &str,
        _mode: u32,
        _size: u64,
        _src: impl AsyncRead + Unpin,
    ) -> Result<(), LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn get_tar(
        &self,
        _path: &str,
        _dst: impl AsyncWrite + Unpin,
        _max_bytes: u64,
    ) -> Result<u64, LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn run(&self, _request: RunRequest) -> Result<(), LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn next_output(&self) -> Result<JobEvent, LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn signal(&self, _signal: i32) -> Result<(), LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn exec(&self, _request: ExecRequest) -> Result<Exec, LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn power_off(&self) -> Result<(), LinkError> {
        Err(LinkError::Closed)
    }
    pub async fn closed(&self) {}
    pub fn close(&self) {}
    pub fn failure(&self) -> Option<LinkError> {
        None
    }
}
