//! Whether who answers a greeting is the machine's agent. In a guest with a vsock device any process can dial the host.

use super::run_state::RunState;
use crate::{AgentSecret, GuestHello, GuestState, OLDEST_VERSION, SECRET_VERSION};

/// What a link knows of its agent's secret.
#[derive(Debug, Clone, Default)]
pub(super) struct Proof {
    /// `None`: no session has to prove anything.
    pub(super) secret: Option<AgentSecret>,
    /// The agent has it: an earlier link gave it.
    pub(super) given: bool,
}

impl Proof {
    /// The oldest version of the protocol to be offered: one whose agents can prove themselves, where they have to.
    pub(super) fn oldest_version(&self) -> u16 {
        if self.secret.is_some() { SECRET_VERSION } else { OLDEST_VERSION }
    }

    /// The agent has the secret, by what is known of its run, so whoever does not say it is somebody else.
    pub(super) fn is_due(&self, run: &RunState) -> bool {
        self.secret.is_some() && (self.given || *run != RunState::Idle)
    }

    /// Whether to believe this answer.
    pub(super) fn holds(&self, run: &RunState, hello: &GuestHello) -> bool {
        match (&self.secret, &hello.secret) {
            (None, _) => true,
            (Some(own), Some(told)) => own == told,
            // A guest that has not been given its identity has no secret and runs nobody's program.
            (Some(_), None) => !self.is_due(run) && hello.state == GuestState::Idle,
        }
    }
}
