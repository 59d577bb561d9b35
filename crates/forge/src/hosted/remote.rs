//! What is asked of a forge. Everything else about hosted forges is the same for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use fireactions_model::{
    ForgeName, JobId, JobRecord, Offer, Outcome, PoolName, PoolSpec, RateLimit, RemoteJob, Secret, Work,
};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::HostedForge;
use super::board::{Rules, Waiting};
use super::delivery::Delivery;
use super::error::Error;
use super::signs::Sign;
use fireactions_http::webhook::Forged;

/// A runner that was registered.
pub(crate) struct Registered {
    /// Its number at the forge.
    pub(crate) id: u64,
    /// What lets a program be this runner, once.
    pub(crate) credential: Secret,
}

/// A runner as the forge lists it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) busy: bool,
    pub(crate) labels: Vec<String>,
    /// The number of its group, where the forge has groups and says which.
    pub(crate) group: Option<u64>,
}

/// What became of a runner that was to be deregistered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// The forge has it no more.
    Gone,
    /// It has a job, and stays.
    Busy,
}

/// What a webhook tells of a job.
#[derive(Debug)]
pub(crate) struct JobNews {
    /// The job.
    pub(crate) job: Waiting,
    /// What happened to it.
    pub(crate) change: Change,
    /// The name of the runner that has it or had it.
    pub(crate) runner: Option<String>,
}

/// What happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It waits for a runner.
    Queued,
    /// A runner has begun it.
    Began,
    /// It has ended.
    Ended,
    /// Nothing that concerns a runner.
    Other,
}

/// What became of the job that a runner was for and was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Somebody cancelled it before.
    Cancelled,
    /// Another runner has it, or had it.
    Taken,
    /// The forge has it no more.
    Gone,
    /// The forge does not say, or it may wait again.
    Untold,
}

impl Missed {
    /// For people.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Self::Cancelled => {
                "the job that this runner was for was cancelled before the runner asked for it"
            }
            Self::Taken => {
                "the job that this runner was for was not left for it: another runner has it, or had it"
            }
            Self::Gone => {
                "the job that this runner was for had gone: somebody cancelled it, or another runner took it"
            }
            Self::Untold => "this runner was not given the job that it was for; the forge does not say why",
        }
    }
}

/// How a job ended, by the forge's word.
pub(crate) struct Judged {
    /// The outcome that counts.
    pub(crate) outcome: Outcome,
    /// Why, for people, where the program's exit does not say it.
    pub(crate) note: Option<String>,
    /// What became known of the job only now.
    pub(crate) job: Option<RemoteJob>,
}

impl Judged {
    /// It ended as its runner's program did.
    pub(crate) fn as_told(told: Outcome) -> Self {
        Self { outcome: told, note: None, job: None }
    }
}

/// A forge of one kind, as its client.
#[async_trait]
pub(crate) trait Remote: Send + Sync {
    /// Which jobs the pools' runners are given, and how they are counted.
    fn rules(&self) -> Arc<dyn Rules>;

    /// Where the pool's runners are registered, in the words of rows; none for a pool of another forge.
    fn scope(&self, pool: &PoolSpec) -> Option<String>;

    /// How the names of the pool's runners begin.
    fn prefix<'a>(&self, pool: &'a PoolSpec) -> &'a str;

    /// Whether a runner asks for the job alone that it was made for.
    fn binds(&self) -> bool {
        false
    }

    /// Registers a runner of this name for the pool, once.
    async fn register(&self, forge: &HostedForge, offer: &Offer, name: &str) -> Result<Registered, Error>;

    /// Deregisters a runner; one that the forge does not have is gone.
    async fn delete(&self, scope: &str, id: u64) -> Result<Deleted, Error>;

    /// Deregisters a runner that waits for a job, unless the forge has given it one meanwhile. `remote` is what is known of it.
    async fn let_go(&self, remote: &RemoteJob, id: u64) -> Result<Deleted, Error> {
        // GitHub refuses that of one that has a job.
        self.delete(&remote.scope, id).await
    }

    /// All runners of a scope; nothing where the forge cannot list them.
    async fn runners(&self, scope: &str) -> Result<Option<Vec<Listed>>, Error>;

    /// What is wrong with one of the pool's runners, as the forge lists it.
    async fn drift(&self, pool: &PoolSpec, runner: &Listed) -> Option<String>;

    /// Asks for what no signal told of this scope, beyond its runners: jobs that wait, and what the forge has otherwise than
    /// the configuration.
    async fn audit(&self, forge: &HostedForge, scope: &str, pools: &[PoolSpec]) -> Result<(), Error>;

    /// What else listens to the forge until the end.
    fn listeners(
        &self,
        forge: &HostedForge,
        pools: &[PoolSpec],
        stop: &CancellationToken,
    ) -> Vec<BoxFuture<'static, ()>>;

    /// Whether each host of a cluster listens for itself: what becomes of its own runners is told to no other.
    fn listens_on_each_host(&self) -> bool {
        false
    }

    /// What of the forge this host holds that one host at a time can: what it listens with, by pool. No secret.
    fn holds(&self) -> BTreeMap<PoolName, String> {
        BTreeMap::new()
    }

    /// Frees what another host held that listens no more.
    async fn free(&self, pools: &[PoolSpec], held: &BTreeMap<PoolName, String>) {
        let _ = (pools, held);
    }

    /// Asks what caused the jobs of the pool's runners whose machines the host's cache has let in and does not know yet.
    async fn look_at_origins(&self, forge: &HostedForge, pool: &PoolName) {
        let _ = (forge, pool);
    }

    /// Whether this forge will say which job the runner of the row has, in words that no guest can change, and the runner can
    /// be given a cache.
    fn tells_origin(&self, remote: &RemoteJob) -> bool {
        let _ = remote;
        false
    }

    /// The runner says that it has begun a job: what the forge says of it is wanted soon.
    fn look_soon(&self) {}

    /// What a machine runs to be this runner. `cache` is where its job finds the host's cache of jobs.
    fn work(&self, record: &JobRecord, pool: &PoolSpec, credential: Secret, cache: Option<&Secret>) -> Work;

    /// What a line of the runner's own output says of it.
    fn sign(&self, line: &str) -> Option<Sign>;

    /// What an exit code of the runner means, for people.
    fn meaning(&self, code: i32) -> Option<&'static str>;

    /// What became of the runner's job where this exit code says that the runner was given none, and where that is nobody's
    /// fault.
    async fn missed(&self, remote: &RemoteJob, code: i32) -> Option<Missed> {
        let _ = (remote, code);
        None
    }

    /// How the job ended of which this is known, whose runner's program ended as `told`.
    async fn judge(&self, remote: &RemoteJob, told: Outcome) -> Judged;

    /// The job of the row has ended by the forge's word, while its machine may still be there.
    fn ended(&self, forge: &HostedForge, row: &JobId, conclusion: Option<&str>) {
        let _ = (forge, row, conclusion);
    }

    /// Checks who sent a delivery.
    fn verify(&self, secrets: &[Secret], delivery: &Delivery<'_>) -> Result<(), Forged>;

    /// The forge's own id of a delivery, which it keeps when it sends the delivery again.
    fn delivery_id<'a>(&self, delivery: &Delivery<'a>) -> Option<&'a str>;

    /// What a delivery says of a job; nothing where it speaks of something else. An error is for people.
    fn parse(&self, name: &ForgeName, delivery: &Delivery<'_>) -> Result<Option<JobNews>, String>;

    /// Requests sent since the start.
    fn calls(&self) -> u64;

    /// The forge's limits on requests, as it last told them.
    fn limits(&self) -> Vec<RateLimit>;
}
