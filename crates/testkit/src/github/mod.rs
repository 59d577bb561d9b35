//! A GitHub in the process: its REST API, the Actions service with scale sets and their message queues, webhooks, and
//! enough of the runner's own protocol for a stand-in runner in a guest. What a GitHub Enterprise Server at
//! `http://HOST` answers below `/api/v3`, this one answers, and it holds both sides to the published description:
//! whatever a request or an answer has that the description has not is kept as a violation, and tests assert that there
//! is none ([`FakeGithub::violations`]).
//!
//! A test sets up accounts, apps and webhooks, queues jobs, and looks at what became of them. Everything that GitHub
//! may do to a client can be made to happen: [`Fault`], [`FakeGithub::down`], [`FakeGithub::set_clock_offset`],
//! [`FakeGithub::rotate_key`], [`Delivery`] and more.
//!
//! [`FakeGithub`] is a handle that is cheap to clone and usable from any thread. [`FakeGithub::start`] serves from a
//! thread that shares the caller's network namespace.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accounts;
mod apps;
mod assign;
mod auth;
mod clock;
mod contract;
mod errors;
mod faults;
mod groups;
mod hooks;
mod hookshot;
mod jobs;
mod keys;
mod known;
mod limits;
mod lists;
mod objects;
mod payload;
mod rest;
mod routes;
pub mod runner;
mod runners;
mod scaleset;
mod server;
mod state;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

pub use crate::http::{Delivery, Fault};
pub use hooks::sign;
pub use hookshot::Hookshot;
pub use known::accounts::Scope;
pub use known::apps::AppKey;
pub use known::hooks::Delivered;
pub use known::jobs::{Assignment, AssignmentResult, Job, JobId, JobRequest, JobStatus};
pub use known::runners::{Runner, RunnerFate};
pub use known::sets::Statistics;
pub use routes::Calls;

use crate::http::{self, Shared};
use state::State;

/// The fake. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct FakeGithub {
    shared: Arc<Shared<State>>,
}

impl Default for FakeGithub {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeGithub {
    /// One with no accounts that does not listen yet.
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared::new(State::default())) }
    }

    /// One that listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn local() -> Self {
        let fake = Self::new();
        fake.start(TcpListener::bind("127.0.0.1:0").expect("a free port"));
        fake
    }

    /// Serves on a thread of its own, in the caller's network namespace, until [`Self::stop`] or the process ends. The
    /// first listener's address becomes the fake's URL. Deliveries of webhooks are sent from this thread, too.
    pub fn start(&self, listener: TcpListener) {
        let served = self.serve(listener);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(served);
        });
    }

    /// Serves until [`Self::stop`], for those who have a runtime. Listens from the moment of the call.
    pub fn serve(&self, listener: TcpListener) -> impl Future<Output = ()> + Send + use<> {
        let address = listener.local_addr().expect("a listener's address");
        self.shared.with(|state| {
            if state.base.is_empty() {
                state.base = format!("http://{address}");
            }
        });
        http::serve(self.shared.clone(), listener, None)
    }

    /// Ends every [`Self::serve`] that there is: connections break and are refused, until it is started again.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// What a client is given as GitHub's URL, such as `http://127.0.0.1:41234`; empty before the first
    /// [`Self::start`].
    pub fn url(&self) -> String {
        self.shared.with(|state| state.base.clone())
    }

    /// What clients are told in links and by the Actions service, where it is not the address of the first listener.
    pub fn set_url(&self, url: &str) {
        self.shared.with(|state| url.trim_end_matches('/').clone_into(&mut state.base));
    }

    /// How runners in guests reach the fake, such as `http://172.16.0.1:8080`; [`Self::url`] unless set.
    pub fn set_runner_url(&self, url: &str) {
        self.shared.with(|state| state.runner_base = Some(url.trim_end_matches('/').to_owned()));
    }

    /// Everything that either side did against the description or the protocol.
    pub fn violations(&self) -> Vec<String> {
        self.shared.with(|state| state.violations.clone())
    }

    /// Whether both descriptions were there to be held against; without them [`Self::violations`] knows only the
    /// protocol's own rules.
    pub fn is_held_to_the_description(&self) -> bool {
        contract::is_there()
    }

    /// Requests that came, by route.
    pub fn calls(&self) -> Calls {
        self.shared.with(|state| state.calls.clone())
    }

    /// Waits until `done` gives something, looking again whenever anything changes.
    ///
    /// # Panics
    ///
    /// When it has not after `within`.
    pub fn wait_for<T>(&self, what: &str, within: Duration, mut done: impl FnMut(&Self) -> Option<T>) -> T {
        http::wait_for(&self.shared, what, within, || done(self))
    }
}
