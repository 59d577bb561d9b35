//! A Gitea or a Forgejo in the process: what of their REST API concerns runners and jobs, the runner protocol in JSON,
//! and Gitea's webhooks of `workflow_job`. It is held to recordings of real servers: what a request was answered there,
//! it is answered here. [`Release`] says which server it is; of releases that were not recorded it has what they lack.
//!
//! A test sets up accounts, tokens and webhooks, queues jobs, and looks at what became of them. What a server may do to a
//! client can be made to happen: [`Fault`], [`FakeGitea::down`], [`FakeGitea::database_locked`],
//! [`FakeGitea::set_clock_offset`], [`FakeGitea::redirect`], [`FakeGitea::set_page_cap`], [`FakeGitea::stop`],
//! [`Delivery`] and more. Paths of faults are those that a client asks for without the fake's prefix, such as
//! `/api/v1/orgs/*/actions/runners` or `/api/actions/runner.v1.RunnerService/FetchTask`.
//!
//! Where it is less than a real server: everybody may read every repository, an organization's members are its owners,
//! of a run that has ended one job alone is run again, bodies of the runner protocol in protobuf are refused with 415, and Forgejo's own webhooks
//! (`action_run_*`) are kept and never sent. Gitea before 1.25 shows no waiting job to anybody but a runner and a
//! webhook: `…/actions/tasks` has jobs that a runner got.
//!
//! [`FakeGitea`] is a handle that is cheap to clone and usable from any thread. [`FakeGitea::start`] serves from a thread
//! that shares the caller's network namespace. [`runner::FakeRunner`] plays a runner.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod faults;
mod forgejo;
mod hooks;
mod jobs;
mod known;
mod objects;
mod people;
mod release;
mod reply;
mod rest;
mod rpc;
pub mod runner;
mod runners;
mod server;
mod state;
mod tasks;
mod yaml;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;

pub use crate::http::{Delivery, Fault};
pub use hooks::sign;
pub use known::accounts::Scope;
pub use known::hooks::Delivered;
pub use known::jobs::{Job, JobId, JobRequest, JobStatus, Workflow};
pub use known::runners::{Runner, RunnerFate};
pub use known::seen::Seen;
pub use release::{Major, Minor, Release};

use crate::certificate::Authority;
use crate::http::{self, Shared};
use state::State;

/// The fake. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct FakeGitea {
    shared: Arc<Shared<State>>,
}

impl FakeGitea {
    /// One with no accounts that does not listen yet.
    pub fn new(release: Release) -> Self {
        Self { shared: Arc::new(Shared::new(State::new(release))) }
    }

    /// One that listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn local(release: Release) -> Self {
        let fake = Self::new(release);
        fake.start(TcpListener::bind("127.0.0.1:0").expect("a free port"));
        fake
    }

    /// One that listens on a free port of 127.0.0.1 with TLS, and the certificate in PEM that a client has to trust.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn local_tls(release: Release) -> (Self, String) {
        let fake = Self::new(release);
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        fake.set_url(&format!("https://{}", listener.local_addr().expect("an address")));
        fake.on_a_thread(listener, Some(authority.acceptor()));
        (fake, authority.pem())
    }

    /// Serves on a thread of its own, in the caller's network namespace, until [`Self::stop`] or the process ends. The
    /// first listener's address becomes the fake's URL. Deliveries of webhooks are sent from this thread, too.
    pub fn start(&self, listener: TcpListener) {
        self.on_a_thread(listener, None);
    }

    fn on_a_thread(&self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let address = listener.local_addr().expect("a listener's address");
        self.shared.with(|state| {
            if state.base.is_empty() {
                state.base = format!("http://{address}");
            }
        });
        let served = http::serve(self.shared.clone(), listener, tls);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(served);
        });
    }

    /// Ends every listener that there is: connections break and are refused, until it is started again. What it knows
    /// stays, as in a server's database.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Listens again at the address of its URL, without TLS. The second half of a server's restart.
    ///
    /// # Panics
    ///
    /// When the port stays taken for half a minute.
    pub fn start_again(&self) {
        let base = self.shared.with(|state| state.base.clone());
        let address: SocketAddr = base.trim_start_matches("http://").parse().expect("an address");
        // The listener that was stopped closes on its own thread.
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            match TcpListener::bind(address) {
                Ok(listener) => return self.start(listener),
                Err(error) => assert!(std::time::Instant::now() < deadline, "{address}: {error}"),
            }
            std::thread::yield_now();
        }
    }

    /// What a client is given as the server's URL, such as `http://127.0.0.1:41234/git`.
    pub fn url(&self) -> String {
        self.shared.with(|state| state.root())
    }

    /// What the fake gives as its address in links, where it is not that of the first listener.
    pub fn set_url(&self, url: &str) {
        self.shared.with(|state| url.trim_end_matches('/').clone_into(&mut state.base));
    }

    /// Everything is below this path from now on, such as `/git`, as behind a reverse proxy.
    pub fn set_prefix(&self, prefix: &str) {
        self.shared.with(|state| prefix.trim_end_matches('/').clone_into(&mut state.prefix));
    }

    /// Which server it is.
    pub fn release(&self) -> Release {
        self.shared.with(|state| state.release)
    }

    /// It becomes another release, as by an upgrade.
    pub fn upgrade(&self, release: Release) {
        self.shared.with(|state| state.release = release);
    }

    /// The last requests that came, the oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.with(|state| state.seen.seen.clone())
    }

    /// How many requests ever came.
    pub fn calls(&self) -> u64 {
        self.shared.with(|state| state.seen.total)
    }

    /// How many of [`Self::requests`] had this method and path: `*` stands for one part of it, `**` at its end for all
    /// that follow.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let fits = Fault::on(method, path);
        self.shared
            .with(|state| state.seen.seen.iter().filter(|seen| fits.fits(&seen.method, &seen.path)).count())
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
