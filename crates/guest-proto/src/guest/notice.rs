//! What waits for the agent.

use std::time::Duration;

use crate::{ExecRequest, Identity, RunRequest};

/// Names one stream of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamId {
    pub(super) session: u64,
    pub(super) number: u32,
}

/// An [`Event`](super::Event) in the queue: it names its stream, and the agent gets the ends of that when it takes it.
pub(super) enum Notice {
    Connected { machine: String },
    Disconnected,
    Settle { timeout: Duration },
    Release,
    Configure(Identity),
    PutFile { id: StreamId, dest: String, mode: u32, size: u64 },
    GetFile { id: StreamId, path: String, last: Option<u64> },
    Run(RunRequest),
    Signal(i32),
    Exec { id: StreamId, request: ExecRequest },
    Clock { unix_nanos: u64 },
    PowerOff,
}
