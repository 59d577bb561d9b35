//! How far the job is, and what of its output is here.

use crate::tail::Tail;
use crate::{GuestState, JobResult};

/// How far the job is. Moves forward only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum RunState {
    #[default]
    Idle,
    Configured,
    Running {
        run: String,
    },
    Exited {
        run: String,
        result: JobResult,
        end: u64,
    },
}

impl RunState {
    /// Rises with every step.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::Configured => 1,
            Self::Running { .. } => 2,
            Self::Exited { .. } => 3,
        }
    }
}

impl From<&GuestState> for RunState {
    fn from(state: &GuestState) -> Self {
        match state {
            GuestState::Idle => RunState::Idle,
            GuestState::Configured => RunState::Configured,
            GuestState::Running { run, .. } => RunState::Running { run: run.clone() },
            GuestState::Exited { run, result, end, .. } => {
                RunState::Exited { run: run.clone(), result: result.clone(), end: *end }
            }
        }
    }
}

/// What the host has of the job.
#[derive(Debug, Default)]
pub(super) struct JobIn {
    pub(super) run: RunState,
    /// A session has said where the output starts.
    pub(super) known: bool,
    /// Received and not returned to the caller; its start is what was returned.
    pub(super) tail: Tail,
    /// What may be acknowledged: returned, and the caller came back for more.
    pub(super) done: u64,
    /// What was acknowledged in this session.
    pub(super) acked: u64,
    /// Offset behind the last byte that came in this session.
    pub(super) position: u64,
    /// `Exited` came, after all output.
    pub(super) ended: bool,
    /// `Exited` came in this session.
    pub(super) over: bool,
    /// The run that this side asked for, and what the guest had against it.
    pub(super) asked: Option<String>,
    pub(super) refused: Option<String>,
}

impl JobIn {
    pub(super) fn due_ack(&mut self) -> Option<u64> {
        (self.done > self.acked).then(|| {
            self.acked = self.done;
            self.done
        })
    }
}
