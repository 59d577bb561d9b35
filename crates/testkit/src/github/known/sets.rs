//! Scale sets, their sessions and their messages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::accounts::ScopeId;

/// A scale set's numbers, as its messages have them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Jobs that may be acquired.
    pub available: u64,
    /// Jobs acquired and not yet assigned; the fake assigns at once.
    pub acquired: u64,
    /// Jobs assigned to the set, running ones included.
    pub assigned: u64,
    /// Jobs that a runner has begun.
    pub running: u64,
    /// Runners of the set.
    pub registered: u64,
    /// Those with a job.
    pub busy: u64,
    /// Those connected and without one.
    pub idle: u64,
}

impl Statistics {
    /// As the service writes them.
    pub(in super::super) fn object(&self) -> Value {
        json!({
            "totalAvailableJobs": self.available,
            "totalAcquiredJobs": self.acquired,
            "totalAssignedJobs": self.assigned,
            "totalRunningJobs": self.running,
            "totalRegisteredRunners": self.registered,
            "totalBusyRunners": self.busy,
            "totalIdleRunners": self.idle,
        })
    }
}

/// A message: what it tells stays as it was when it was made, however late or often it is told.
#[derive(Debug)]
pub(in super::super) struct Message {
    pub(in super::super) events: Vec<Value>,
    pub(in super::super) statistics: Statistics,
}

/// A scale set.
#[derive(Debug)]
pub(in super::super) struct Set {
    pub(in super::super) id: u64,
    pub(in super::super) scope: ScopeId,
    pub(in super::super) name: String,
    pub(in super::super) group: u64,
    pub(in super::super) labels: Vec<String>,
    pub(in super::super) disable_update: bool,
    pub(in super::super) created: Timestamp,
    pub(in super::super) session: Option<Session>,
    /// What the last question for messages said that there is room for.
    pub(in super::super) capacity: u64,
    /// What happened and is in no message yet.
    pub(in super::super) events: Vec<Value>,
    /// Messages that were not acknowledged. They outlive their session, as their numbers do.
    pub(in super::super) messages: BTreeMap<u64, Message>,
    pub(in super::super) last_message: u64,
    /// How the set stands as far as the session was told.
    pub(in super::super) told: Statistics,
}

/// Whose queue it is now.
#[derive(Debug)]
pub(in super::super) struct Session {
    pub(in super::super) id: String,
    pub(in super::super) owner: String,
    pub(in super::super) token: String,
    pub(in super::super) expires: Timestamp,
    pub(in super::super) heard: Instant,
}

/// All of them, and who may speak to the service.
#[derive(Debug)]
pub(in super::super) struct Sets {
    pub(in super::super) known: BTreeMap<u64, Set>,
    pub(in super::super) registrations: BTreeMap<String, (ScopeId, Timestamp)>,
    pub(in super::super) admins: BTreeMap<String, (ScopeId, Timestamp)>,
    pub(in super::super) token_lifetime: Option<SignedDuration>,
    pub(in super::super) bom: bool,
    pub(in super::super) poll: Duration,
    pub(in super::super) offered_for: Duration,
    pub(in super::super) session_for: Duration,
}

impl Default for Sets {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            registrations: BTreeMap::new(),
            admins: BTreeMap::new(),
            token_lifetime: None,
            bom: false,
            poll: Duration::from_secs(1),
            offered_for: Duration::from_secs(10),
            session_for: Duration::from_secs(600),
        }
    }
}

impl Set {
    pub(in super::super) fn put(&mut self, message: Message) {
        self.last_message += 1;
        self.messages.insert(self.last_message, message);
    }
}

impl Sets {
    pub(in super::super) fn lifetime(&self) -> SignedDuration {
        self.token_lifetime.unwrap_or(SignedDuration::from_hours(1))
    }
}
