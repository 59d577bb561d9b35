//! All forges of a server as one: each pool is of one of them, and each job of the forge that made its row.

use std::iter;
use std::sync::Arc;

use async_trait::async_trait;
use fireactions_model::{
    DemandSource, Forge, ForgeError, JobId, MachineId, Offer, Outcome, Output, PhaseTimes, Release, Report,
    Verdict, Work,
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

    /// Each by itself: what one does not answer keeps nobody from the others.
    pub fn sources(&self) -> Vec<Arc<dyn DemandSource>> {
        let github = self.github.clone().map(|github| Arc::new(github) as Arc<dyn DemandSource>);
        iter::once(Arc::new(self.local.clone()) as Arc<dyn DemandSource>).chain(github).collect()
    }

    /// The forge whose runner this job is. The built-in queue keeps the rows of all.
    async fn of(&self, job: &JobId) -> &dyn Forge {
        match &self.github {
            Some(github) if self.local.is_remote(job).await => github,
            _ => &self.local,
        }
    }
}

#[async_trait]
impl Forge for Forges {
    async fn acquire(&self, offer: &Offer) -> Result<Work, ForgeError> {
        match &self.github {
            _ if self.local.serves(&offer.pool) => self.local.acquire(offer).await,
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

    async fn judge(&self, job: &JobId, told: Outcome, notes: &mut Vec<String>) -> Verdict {
        self.of(job).await.judge(job, told, notes).await
    }

    async fn finished(&self, job: &JobId, machine: &MachineId, report: &Report) -> Result<(), ForgeError> {
        self.of(job).await.finished(job, machine, report).await
    }

    async fn undone(&self, job: &JobId, machine: &MachineId, phases: &PhaseTimes) -> Result<(), ForgeError> {
        self.of(job).await.undone(job, machine, phases).await
    }
}
