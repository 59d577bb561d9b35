//! Webhooks and what was sent to them.

use jiff::Timestamp;

use crate::http::Outbox;

use super::accounts::Owner;
use super::jobs::JobId;

/// A delivery and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The delivery id.
    pub guid: String,
    /// Where it went.
    pub url: String,
    /// Such as `queued`.
    pub action: String,
    /// The job that it is about.
    pub job: JobId,
    /// The answer's status, or why there was none. Neither forge tries again.
    pub answer: Result<u16, String>,
}

/// Whose webhook it is. The hook of an administrator that is not a system's is a model for new repositories alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Of {
    Owner(Owner),
    System,
    Default,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Hook {
    pub(in super::super) id: u64,
    pub(in super::super) of: Of,
    pub(in super::super) url: String,
    pub(in super::super) secret: String,
    /// `form`, not `json`.
    pub(in super::super) is_form: bool,
    pub(in super::super) active: bool,
    pub(in super::super) events: Vec<String>,
    pub(in super::super) authorization: String,
    pub(in super::super) branch_filter: String,
    pub(in super::super) kind: String,
    pub(in super::super) created: Timestamp,
}

/// A delivery that is to be made.
#[derive(Debug, Clone)]
pub(in super::super) struct Outgoing {
    pub(in super::super) guid: String,
    pub(in super::super) url: String,
    pub(in super::super) action: String,
    pub(in super::super) job: u64,
    pub(in super::super) headers: Vec<(String, String)>,
    pub(in super::super) body: Vec<u8>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Hooks {
    pub(in super::super) all: Vec<Hook>,
    pub(in super::super) outbox: Outbox<Outgoing, Delivered>,
}
