//! The machine's one job: its state, its output and its result, kept until a host has them.
//!
//! ```text
//! Idle -> Configuring -> Configured -> Starting -> Running -> Exited
//!   ^-- (failed) --|                       '-- (unstartable) --^
//! ```

use std::io;
use std::sync::Arc;

use super::state::{Shared, State};
use crate::frame::{self, Kind};
use crate::limits::{CHUNK, JOB_WINDOW};
use crate::tail::Tail;
use crate::{GuestMsg, GuestState, JobResult, Stream};

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
    tail: Tail,
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

impl State {
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
}

/// Takes one of the job's outputs. Writing waits while a window of output is unacknowledged, so that a job that
/// writes faster than the host stores is slowed down and not cut off.
pub struct JobOutput {
    pub(super) shared: Arc<Shared>,
    pub(super) stream: Stream,
}

impl io::Write for JobOutput {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let stream = self.stream;
        let taken = self.shared.wait(None, |state| {
            if matches!(state.job.phase, Phase::Exited { .. }) {
                return Some(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let room = usize::try_from(JOB_WINDOW.saturating_sub(state.job.tail.len())).unwrap_or(0);
            (room > 0).then(|| {
                let take = data.len().min(room);
                state.job.tail.push(stream, &data[..take]);
                Ok(take)
            })
        });
        self.shared.update(|_| ());
        taken.unwrap_or(Ok(0))
    }

    /// Output is flushed by the session itself.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
