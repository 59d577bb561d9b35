//! The forge as machines and pools see it.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use fireactions_model::{
    Artifact, Cancel, Demand, DemandSource, Event, Forge, ForgeError, JobId, JobRecord, MachineId, Offer,
    Output, PhaseTimes, PoolName, PoolSpec, Release, Report, Work, WorkFile, WorkSource,
};
use fireactions_store::{Bind, Standing, StoreError};

use super::LocalForge;
use crate::refusal::forge_error;
use crate::waiters::{Found, acquire};

/// So many jobs may fail to be given to a machine before it is told so; each may have waited for a lock.
const TRIES: usize = 4;

#[async_trait]
impl DemandSource for LocalForge {
    fn name(&self) -> &'static str {
        "local"
    }

    fn serves(&self, pool: &PoolSpec) -> bool {
        pool.forge.is_none()
    }

    async fn demand(&self, pools: &[PoolSpec]) -> Result<BTreeMap<PoolName, Demand>, ForgeError> {
        let (demand, news) = self.inner.board.demand(pools);
        for id in news {
            if let Some(job) = self.get(&id).await.map_err(forge_error)? {
                let _ = self.inner.events.send(Event::Job { job: Box::new(job.brief()) });
            }
        }
        Ok(demand)
    }

    async fn changed(&self) {
        // One permit is kept for a change between two calls.
        self.inner.demand.notified().await;
    }
}

#[async_trait]
impl Forge for LocalForge {
    async fn acquire(&self, offer: &Offer) -> Result<Work, ForgeError> {
        let found = acquire(self.waiters(), &self.inner.store, offer, || self.claim(offer)).await?;
        match found {
            Found::Work(job) | Found::Standing(Standing::Bound(job)) => self.work(offer, &job).await,
            Found::Standing(standing) => Err(refused(offer, &standing)),
        }
    }

    async fn release(&self, machine: &MachineId) -> Result<Release, ForgeError> {
        let release = self.inner.store.release_machine(machine).await.map_err(forge_error)?;
        if release == Release::Idle {
            self.waiters().release(machine);
        }
        Ok(release)
    }

    async fn started(&self, job: &JobId, machine: &MachineId) -> Result<(), ForgeError> {
        self.inner.store.start_job(job, machine).await.map(drop).map_err(forge_error)
    }

    async fn output(&self, job: &JobId, machine: &MachineId, output: Output) -> Result<(), ForgeError> {
        let log = self.inner.board.log_of(job, machine).ok_or_else(|| ForgeError::NotBound(job.clone()))?;
        log.append_at(output.offset, output.stream, output.data).await.map_err(forge_error)
    }

    async fn cancelled(&self, job: &JobId) -> Cancel {
        loop {
            let mut asked = pin!(self.inner.cancel.notified());
            asked.as_mut().enable();
            if self.inner.board.is_cancelling(job) {
                return Cancel::Asked;
            }
            asked.await;
        }
    }

    async fn finished(&self, job: &JobId, machine: &MachineId, report: &Report) -> Result<(), ForgeError> {
        let store = &self.inner.store;
        // The result matters more than the last lines of the log.
        if let Err(error) = store.sync_job_files(job).await {
            tracing::warn!(%job, %error, "a job's log and artifacts could not be synced to the disk and may not survive a power loss");
        }
        let end =
            store.finish_job(job, machine, report, self.inner.config.retry).await.map_err(forge_error)?;
        let record = end.job();
        tracing::info!(%job, %machine, state = %record.state, attempt = record.attempt, "job attempt ended");
        Ok(())
    }

    async fn undone(&self, job: &JobId, machine: &MachineId, phases: &PhaseTimes) -> Result<(), ForgeError> {
        self.inner.store.add_phases(job, machine, phases).await.map_err(forge_error)
    }
}

impl LocalForge {
    /// Binds the machine to the first job that fits it, if there is one.
    async fn claim(&self, offer: &Offer) -> Result<Option<Box<JobRecord>>, ForgeError> {
        let (mut tried, mut failed) = (HashSet::new(), None);
        while let Some(claim) = self.inner.board.claim(offer, &tried) {
            let bind = self.inner.store.bind(&claim.job, &offer.machine, &offer.pool.name).await;
            match bind {
                // Perhaps by another call for the same machine, since it was looked at.
                Ok(Bind::Bound(job) | Bind::Refused(Standing::Bound(job))) => return Ok(Some(job)),
                Ok(Bind::Taken) => {}
                Ok(Bind::Refused(standing)) => return Err(refused(offer, &standing)),
                // It may be this one's record alone that is wrong: those behind it are not to wait for that.
                Err(error @ (StoreError::Sql { .. } | StoreError::Damaged { .. })) if tried.len() < TRIES => {
                    tracing::error!(job = %claim.job, %error, "a job could not be given to a machine");
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(forge_error(error)),
            }
            tried.insert(claim.job.clone());
        }
        failed.map_or(Ok(None), |error| Err(forge_error(error)))
    }

    /// What the machine is to do, or does already.
    async fn work(&self, offer: &Offer, job: &JobRecord) -> Result<Work, ForgeError> {
        let store = &self.inner.store;
        let spec = &job.spec;
        if !spec.artifacts.is_empty() {
            store.make_job_dir(&job.id).await.map_err(forge_error)?;
        }
        if job.attempt > 1 {
            // The log goes on after the lost attempt's output. It knows which attempts it has: this may be said
            // again, also to a machine that was adopted, and must be when a crash came before it.
            let why = job.reason.as_deref().unwrap_or("the previous attempt was lost");
            let note = format!("attempt {} starts on machine {}: {why}", job.attempt, offer.machine);
            store.log(&job.id).begin_attempt(job.attempt, &note).await.map_err(forge_error)?;
        }
        let longest = offer.pool.deadlines.job;
        let files = spec.files.iter().enumerate().map(|(n, file)| WorkFile {
            source: WorkSource::Host(store.input_path(&job.id, n)),
            dest: file.dest.clone(),
            mode: file.mode,
        });
        let artifacts = spec
            .artifacts
            .iter()
            .enumerate()
            .map(|(n, path)| Artifact { path: path.clone(), dest: store.artifact_path(&job.id, n) });
        Ok(Work {
            job: job.id.clone(),
            program: spec.program.clone(),
            env: spec.env.clone(),
            secret_env: Vec::new(),
            metadata_credential: None,
            ends_with_guest: false,
            user: spec.user.clone(),
            owner_of: Vec::new(),
            workdir: spec.workdir.clone(),
            timeout: spec.timeout().map_or(longest, |own: Duration| own.min(longest)),
            files: files.collect(),
            artifacts: artifacts.collect(),
        })
    }
}

/// What a machine is told that gets no new job.
pub(crate) fn refused(offer: &Offer, standing: &Standing) -> ForgeError {
    let why = match standing {
        Standing::Bound(_) => "has a job",
        Standing::Free => "is not ready",
        Standing::Used => "has had its job",
        Standing::Released => "was released",
    };
    ForgeError::Refused(format!("machine {} {why}, so it gets no more work", offer.machine))
}
