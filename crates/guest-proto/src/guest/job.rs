//! The machine's one job: its state, its output and its result, kept until a host has them.
//!
//! ```text
//! Idle -> Configuring -> Configured -> Starting -> Running -> Exited
//!   ^-- (failed) --|                       '-- (unstartable) --^
//! ```

use crate::frame::{self, Kind};
use crate::limits::CHUNK;
use crate::tail::Tail;
use crate::{GuestMsg, GuestState, JobResult};

#[derive(Debug, Clone, Default)]
pub(super) enum Phase {
    #[default]
    Idle,
    Configuring,
    Configured,
    Starting {
        run: String,
    },
    Running {
        run: String,
        pid: u32,
    },
    Exited {
        run: String,
        result: JobResult,
    },
}

#[derive(Debug, Default)]
pub(super) struct Job {
    pub(super) phase: Phase,
    pub(super) tail: Tail,
    /// Offset behind the last byte sent in this session.
    sent: u64,
    exit_sent: bool,
}

impl Job {
    /// What the host is told at the start of a session.
    pub(super) fn state(&self) -> GuestState {
        match &self.phase {
            Phase::Idle | Phase::Configuring => GuestState::Idle,
            Phase::Configured | Phase::Starting { .. } => GuestState::Configured,
            Phase::Running { run, pid } => {
                GuestState::Running { run: run.clone(), pid: *pid, acked: self.tail.start() }
            }
            Phase::Exited { run, result } => GuestState::Exited {
                run: run.clone(),
                acked: self.tail.start(),
                end: self.tail.end(),
                result: result.clone(),
            },
        }
    }

    /// A new session starts at the first unacknowledged byte.
    pub(super) fn rewind(&mut self) {
        self.sent = self.tail.start();
        self.exit_sent = false;
    }

    /// The host has everything before `offset`, perhaps from an earlier session. More than there is, is not believed.
    pub(super) fn acknowledge(&mut self, offset: u64) {
        if offset <= self.tail.end() {
            self.tail.discard(offset);
            self.sent = self.sent.max(self.tail.start());
        }
    }

    fn told(&self) -> bool {
        matches!(self.phase, Phase::Running { .. } | Phase::Exited { .. })
    }

    pub(super) fn pending(&self) -> bool {
        self.told()
            && (self.sent < self.tail.end()
                || (matches!(self.phase, Phase::Exited { .. }) && !self.exit_sent))
    }

    /// Adds at most one piece of output to `out`, or the end.
    pub(super) fn fill(&mut self, nonce: u64, out: &mut Vec<u8>) {
        if !self.told() {
            return;
        }
        if let Some((stream, data)) = self.tail.read(self.sent, CHUNK) {
            let offset = self.sent.to_le_bytes();
            frame::write(out, nonce, Kind::Job, frame::channel(stream), 0, &[&offset, &data]);
            self.sent += data.len() as u64;
        } else if let Phase::Exited { run, result } = &self.phase
            && !self.exit_sent
        {
            let end = self.tail.end();
            let exited = GuestMsg::Exited { run: run.clone(), end, result: result.clone() };
            frame::write_control(out, nonce, &exited);
            self.exit_sent = true;
        }
    }
}
