//! Everything the fake knows.

use crate::http::{Clock, Faults};

use super::known::accounts::Accounts;
use super::known::apps::Apps;
use super::known::hooks::Hooks;
use super::known::jobs::Jobs;
use super::known::limits::Limits;
use super::known::lists::Lists;
use super::known::runners::Runners;
use super::known::sets::Sets;
use super::routes::Calls;

/// The fake's state, behind one lock.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Goes up with every change that somebody may wait for.
    pub(super) version: u64,
    last_id: u64,
    /// `http://HOST:PORT`; empty until there is a listener.
    pub(super) base: String,
    pub(super) runner_base: Option<String>,
    pub(super) clock: Clock,
    pub(super) accounts: Accounts,
    pub(super) apps: Apps,
    pub(super) limits: Limits,
    pub(super) lists: Lists,
    pub(super) faults: Faults,
    pub(super) runners: Runners,
    pub(super) jobs: Jobs,
    pub(super) sets: Sets,
    pub(super) hooks: Hooks,
    pub(super) calls: Calls,
    pub(super) violations: Vec<String>,
}

impl State {
    /// Says that something changed that somebody may wait for.
    pub(super) fn touch(&mut self) {
        self.version += 1;
    }

    /// An id that nothing else has.
    pub(super) fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id + 1000
    }

    /// An id of a kind that has outgrown 32 bits at GitHub.
    pub(super) fn long_id(&mut self) -> u64 {
        self.id() + 50_000_000_000
    }

    /// Where the REST API is.
    pub(super) fn api(&self) -> String {
        format!("{}/api/v3", self.base)
    }

    pub(super) fn violation(&mut self, what: String) {
        self.violations.push(what);
        self.touch();
    }
}
