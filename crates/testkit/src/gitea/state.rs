//! Everything the fake knows.

use jiff::Timestamp;

use crate::http::{Clock, Faults};

use super::known::accounts::Accounts;
use super::known::hooks::Hooks;
use super::known::jobs::Jobs;
use super::known::runners::Runners;
use super::known::seen::Log;
use super::release::Release;

/// The fake's state, behind one lock.
#[derive(Debug)]
pub(super) struct State {
    /// Goes up with every change that somebody may wait for.
    pub(super) version: u64,
    pub(super) release: Release,
    /// `http://HOST:PORT`; empty until there is a listener.
    pub(super) base: String,
    /// What comes before every path, such as `/git`; mostly nothing.
    pub(super) prefix: String,
    /// Everything is answered with this status and the same path at this address.
    pub(super) redirect: Option<(u16, String)>,
    /// The longest page of a list.
    pub(super) page_cap: usize,
    pub(super) clock: Clock,
    pub(super) accounts: Accounts,
    pub(super) runners: Runners,
    pub(super) jobs: Jobs,
    pub(super) hooks: Hooks,
    pub(super) faults: Faults,
    pub(super) seen: Log,
}

impl State {
    pub(super) fn new(release: Release) -> Self {
        Self {
            version: 0,
            release,
            base: String::new(),
            prefix: String::new(),
            redirect: None,
            page_cap: 50,
            clock: Clock::default(),
            accounts: Accounts::default(),
            runners: Runners::default(),
            jobs: Jobs::default(),
            hooks: Hooks::default(),
            faults: Faults::default(),
            seen: Log::default(),
        }
    }

    /// Says that something changed that somebody may wait for.
    pub(super) fn touch(&mut self) {
        self.version += 1;
    }

    /// The server's address as it gives it in links, without a slash at its end.
    pub(super) fn root(&self) -> String {
        format!("{}{}", self.base, self.prefix)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A time as both forges write it; one that is not set is the epoch.
pub(super) fn written(time: Option<Timestamp>) -> String {
    crate::http::wire(time.unwrap_or(Timestamp::UNIX_EPOCH)).to_string()
}
