//! All forges of a server as one: each pool is of one of them, and each job of the forge that made its row.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fireactions_model::{
    Demand, Forge, ForgeError, JobId, MachineId, Offer, Outcome, Output, PhaseTimes, PoolName, PoolSpec,
    Release, Report, Work,
};

use fireactions_store::StoreError;

use crate::github::GithubForge;
use crate::local::LocalForge;

/// The built-in queue, and the hosted forges that the configuration names.
#[derive(Clone)]
pub struct Forges {
    local: LocalForge,
    github: Option<GithubForge>,
}

impl Forges {
    /// Joins them.
    pub fn new(local: LocalForge, github: Option<GithubForge>) -> Self {
        Self { local, github }
    }

    /// Ends the attempts of jobs whose machine has no row any more, as lost. For the start, after machines were reconciled.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let recovered = self.local.recover().await?;
        if let Some(github) = &self.github {
            github.lost(recovered.iter().filter(|job| job.remote.is_some()).map(|job| &job.id));
        }
        Ok(())
    }

    /// The forge whose runner this job is. The built-in queue keeps the rows of all.
    async fn of(&self, job: &JobId) -> &dyn Forge {
        match &self.github {
            Some(github) if self.local.is_remote(job).await => github,
            _ => &self.local,
        }
    }
}

/// Whether a pool takes jobs of the built-in queue.
fn is_local(pool: &PoolSpec) -> bool {
    pool.github.is_none()
}

#[async_trait]
impl Forge for Forges {
    fn name(&self) -> &'static str {
        if self.github.is_some() { "local and github" } else { "local" }
    }

    fn set_capacity(&self, capacity: &BTreeMap<PoolName, u32>) {
        if let Some(github) = &self.github {
            github.set_capacity(capacity);
        }
    }

    async fn demand(&self, pools: &[PoolSpec]) -> Result<BTreeMap<PoolName, Demand>, ForgeError> {
        let local: Vec<PoolSpec> = pools.iter().filter(|pool| is_local(pool)).cloned().collect();
        let mut all = self.local.demand(&local).await?;
        if let Some(github) = &self.github {
            all.extend(github.demand(pools).await?);
        }
        Ok(all)
    }

    async fn changed(&self) {
        match &self.github {
            Some(github) => tokio::select! {
                () = self.local.changed() => {}
                () = github.changed() => {}
            },
            None => self.local.changed().await,
        }
    }

    async fn acquire(&self, offer: &Offer) -> Result<Work, ForgeError> {
        match &self.github {
            _ if is_local(&offer.pool) => self.local.acquire(offer).await,
            Some(github) => github.acquire(offer).await,
            None => Err(ForgeError::Refused(format!(
                "pool '{}' is GitHub's, and this server's configuration has no GitHub any more",
                offer.pool.name
            ))),
        }
    }

    async fn release(&self, machine: &MachineId) -> Result<Release, ForgeError> {
        // What was bound, by whatever forge, is in the rows.
        self.local.release(machine).await
    }

    async fn started(&self, job: &JobId, machine: &MachineId) -> Result<(), ForgeError> {
        self.of(job).await.started(job, machine).await
    }

    async fn output(&self, job: &JobId, machine: &MachineId, output: Output) -> Result<(), ForgeError> {
        self.of(job).await.output(job, machine, output).await
    }

    async fn cancelled(&self, job: &JobId) {
        self.of(job).await.cancelled(job).await;
    }

    async fn judge(&self, job: &JobId, told: Outcome, notes: &mut Vec<String>) -> Outcome {
        self.of(job).await.judge(job, told, notes).await
    }

    async fn finished(&self, job: &JobId, machine: &MachineId, report: &Report) -> Result<(), ForgeError> {
        self.of(job).await.finished(job, machine, report).await
    }

    async fn undone(&self, job: &JobId, machine: &MachineId, phases: &PhaseTimes) -> Result<(), ForgeError> {
        self.of(job).await.undone(job, machine, phases).await
    }
}
