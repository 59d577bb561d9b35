//! All forges of a server as one: each pool is of one of them, and each job of the forge that made its row.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use async_trait::async_trait;
use fireactions_model::{
    Cancel, DemandSource, Forge, ForgeError, ForgeName, JobId, JobRecord, MachineId, Offer, Outcome, Output,
    PhaseTimes, Release, Report, Verdict, Work,
};

use fireactions_store::StoreError;

use crate::hosted::HostedForge;
use crate::local::LocalForge;

/// The built-in queue, and the hosted forges that the configuration declares.
#[derive(Clone)]
pub struct Forges {
    local: LocalForge,
    hosted: Arc<BTreeMap<ForgeName, HostedForge>>,
}

impl Forges {
    /// Joins them.
    pub fn new(local: LocalForge, hosted: impl IntoIterator<Item = HostedForge>) -> Self {
        let hosted = hosted.into_iter().map(|forge| (forge.name().clone(), forge)).collect();
        Self { local, hosted: Arc::new(hosted) }
    }

    /// The hosted ones, by name.
    pub fn hosted(&self) -> impl Iterator<Item = &HostedForge> {
        self.hosted.values()
    }

    /// Ends the attempts of jobs whose machine has no row any more, as lost. For the start, after machines were reconciled.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn recover(&self) -> Result<(), StoreError> {
        let recovered = self.local.recover().await?;
        for forge in self.hosted() {
            let its =
                |job: &&JobRecord| job.remote.as_ref().is_some_and(|remote| remote.forge == *forge.name());
            forge.lost(recovered.iter().filter(its).map(|job| &job.id));
        }
        Ok(())
    }

    /// Each by itself: what one does not answer keeps nobody from the others.
    pub fn sources(&self) -> Vec<Arc<dyn DemandSource>> {
        let hosted = self.hosted().cloned().map(|forge| Arc::new(forge) as Arc<dyn DemandSource>);
        iter::once(Arc::new(self.local.clone()) as Arc<dyn DemandSource>).chain(hosted).collect()
    }

    /// The forge whose runner this job is. The built-in queue keeps the rows of all; of a forge that the configuration has no
    /// more, it is all that is left.
    async fn of(&self, job: &JobId) -> &dyn Forge {
        match self.local.remote_of(job).await.and_then(|name| self.hosted.get(&name)) {
            Some(forge) => forge,
            None => &self.local,
        }
    }
}

#[async_trait]
impl Forge for Forges {
    async fn acquire(&self, offer: &Offer) -> Result<Work, ForgeError> {
        let Some(its) = &offer.pool.forge else { return self.local.acquire(offer).await };
        match self.hosted.get(&its.name) {
            Some(forge) => forge.acquire(offer).await,
            None => Err(ForgeError::Refused(format!(
                "pool '{}' belongs to forge '{}', which is no longer in the server's configuration",
                offer.pool.name, its.name
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

    async fn cancelled(&self, job: &JobId) -> Cancel {
        self.of(job).await.cancelled(job).await
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
