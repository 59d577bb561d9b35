//! The cache service of a host's jobs, as forges use it: they know whose a job is.

use async_trait::async_trait;

use crate::{ForgeName, MachineId, Secret};

/// What caused a job, by its forge's own word. Nothing of it is a guest's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The forge, by its name in the configuration.
    pub forge: ForgeName,
    /// The job's repository, `owner/name`.
    pub repository: String,
    /// The repository's number, which no later repository of its name has.
    pub repository_id: u64,
    /// The repository's default branch, as people write it.
    pub default_branch: String,
    /// What happened: `push`, `pull_request`, …; the forge's word for it.
    pub event: String,
    /// The whole ref that it runs for (`refs/heads/main`, `refs/tags/v1`, `refs/pull/7/head`), where the forge tells it.
    pub reference: Option<String>,
}

/// Who may use a host's cache of jobs, and for what.
#[async_trait]
pub trait JobCaches: Send + Sync {
    /// Lets a machine's job in, until [`end`](Self::end). It shares nothing with anybody before it is known whose it is. Gives where
    /// it finds the cache; nothing when the host has none at the moment. Asked again, it changes nothing.
    async fn admit(&self, machine: &MachineId) -> Option<Secret>;

    /// Whether a machine's job was let in and it is not known yet whose it is.
    fn is_open(&self, machine: &MachineId) -> bool;

    /// Its forge has said whose the machine's job is.
    async fn confirm(&self, machine: &MachineId, origin: &Origin);

    /// The machine's job is over. Idempotent.
    async fn end(&self, machine: &MachineId);
}
