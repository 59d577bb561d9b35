//! Webhooks and what was sent to them.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::http::Outbox;

use super::jobs::JobId;

/// So many deliveries can be sent again.
const KEPT: usize = 200;

/// A delivery and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The delivery id.
    pub guid: String,
    /// The event and, for jobs, the action, such as `workflow_job.queued`.
    pub event: String,
    /// The job that it is about.
    pub job: Option<JobId>,
    /// When it was sent, by the fake's clock.
    pub sent_at: Timestamp,
    /// How long the answer took.
    pub took: Duration,
    /// The answer's status, or why there was none.
    pub answer: Result<u16, String>,
}

/// A delivery that is to be made.
#[derive(Debug, Clone)]
pub(in super::super) struct Outgoing {
    pub(in super::super) url: String,
    pub(in super::super) guid: String,
    pub(in super::super) event: String,
    pub(in super::super) action: Option<String>,
    pub(in super::super) job: Option<JobId>,
    pub(in super::super) body: Vec<u8>,
    pub(in super::super) signature: Option<String>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Hooks {
    /// Where to, and the secret.
    pub(in super::super) targets: Vec<(String, String)>,
    pub(in super::super) outbox: Outbox<Outgoing, Delivered>,
    /// What was sent last, to be sent again.
    pub(in super::super) sent: VecDeque<Outgoing>,
}

impl Hooks {
    pub(in super::super) fn keep(&mut self, one: Outgoing) {
        self.sent.push_back(one);
        if self.sent.len() > KEPT {
            self.sent.pop_front();
        }
    }
}
