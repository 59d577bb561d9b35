//! Gitea Actions and Forgejo Actions: the host registers a runner for one job, and only that runner's credential enters the
//! machine. The queue is asked for every few seconds, one question for each scope; a Gitea's webhook tells of jobs at once.
//!
//! Neither exit code nor log of the runner tells success from failure, and a runner for one job is never told that its job
//! was cancelled: the forge has forgotten the runner by then. So results and cancellations come from the forge alone.

mod follow;
mod hook;
mod job;
mod origin;
mod program;
mod remote;
mod rules;
mod settle;
mod signs;

use std::sync::Arc;
use std::time::Duration;

use fireactions_gitea::Gitea;
use fireactions_model::{Event, ForgeName, PoolSpec};
use fireactions_store::StoreError;
use tokio::sync::{broadcast, watch};

use crate::hosted::{HostedForge, HostedSettings};
use crate::local::LocalForge;
use rules::GiteaRules;

/// What is special of a Gitea or a Forgejo.
#[derive(Debug, Clone)]
pub struct GiteaSettings {
    /// How often the queue is asked for.
    pub poll_interval: Duration,
    /// Whether the server may ask for the queue: it has an API token, not a registration token alone.
    pub reads_queue: bool,
}

/// A forge of this name that is a Gitea or a Forgejo. `records` keeps the rows; `pools` are all pools of the configuration.
/// Nothing is asked of it before [`HostedForge::run`].
///
/// # Errors
/// When the store cannot be read.
pub async fn forge(
    name: ForgeName,
    records: LocalForge,
    events: broadcast::Sender<Event>,
    gitea: Gitea,
    settings: (HostedSettings, GiteaSettings),
    pools: &[PoolSpec],
) -> Result<HostedForge, StoreError> {
    let (hosted, own) = settings;
    let rules = Arc::new(GiteaRules::new(gitea.kind()));
    let looks = watch::Sender::new(());
    let remote = GiteaRemote { inner: Arc::new(Inner { gitea, rules, settings: own, looks }) };
    HostedForge::new(name, Arc::new(remote), records, events, hosted, pools).await
}

/// A Gitea or a Forgejo, as its client. Clones share it.
#[derive(Clone)]
struct GiteaRemote {
    inner: Arc<Inner>,
}

struct Inner {
    gitea: Gitea,
    rules: Arc<GiteaRules>,
    settings: GiteaSettings,
    /// Changes when the queue is to be looked at before its time.
    looks: watch::Sender<()>,
}
