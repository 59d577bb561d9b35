//! GitHub Actions: machines become just-in-time runners. Jobs come through scale sets' message queues, or by webhook and
//! audit.

mod audit;
mod drift;
mod error;
mod groups;
mod job;
mod origin;
mod program;
mod register;
mod remote;
mod rules;
mod scale_set;
mod session;
mod signs;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fireactions_github::Github;
use fireactions_github::scaleset::{ScaleSetId, ScaleSets};
use fireactions_model::{Event, ForgeName, PoolName, PoolSpec};
use fireactions_store::StoreError;
use tokio::sync::broadcast;

use crate::hosted::lock;
use crate::hosted::{HostedForge, HostedSettings};
use crate::local::LocalForge;
use error::Error;
use rules::GithubRules;

/// A forge of this name that is GitHub. `records` keeps the rows; `pools` are all pools of the configuration. Nothing is asked
/// of GitHub before [`HostedForge::run`].
///
/// # Errors
/// When the store cannot be read.
pub async fn forge(
    name: ForgeName,
    records: LocalForge,
    events: broadcast::Sender<Event>,
    github: Github,
    settings: HostedSettings,
    pools: &[PoolSpec],
) -> Result<HostedForge, StoreError> {
    let remote = GithubRemote::new(github);
    HostedForge::new(name, Arc::new(remote), records, events, settings, pools).await
}

/// GitHub, as its client. Clones share it.
#[derive(Clone)]
struct GithubRemote {
    inner: Arc<Inner>,
}

struct Inner {
    github: Github,
    rules: Arc<GithubRules>,
    /// Scale sets that there are and that have a session here.
    sets: Mutex<HashMap<PoolName, OpenSet>>,
    /// Scale sets that another host listens to.
    others: Mutex<HashMap<PoolName, OpenSet>>,
    groups: register::Groups,
}

/// A scale set whose messages are listened to.
#[derive(Clone)]
struct OpenSet {
    sets: ScaleSets,
    id: ScaleSetId,
    /// The session, if it is this host's.
    session: Option<String>,
}

impl GithubRemote {
    fn new(github: Github) -> Self {
        let inner = Inner {
            github,
            rules: Arc::default(),
            sets: Mutex::default(),
            others: Mutex::default(),
            groups: register::Groups::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The pool's scale set, while it has a session.
    fn open_set(&self, pool: &PoolName) -> Result<OpenSet, Error> {
        lock(&self.inner.sets).get(pool).cloned().ok_or(Error::NoSession)
    }
}
