//! The server as its API sees it.

mod caches;
mod host;
mod image_progress;
mod images;
mod jobs;
mod machines;
mod told;
mod usage;
mod wait_reason;

use std::collections::BTreeMap;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fireactions_api::engine::{Download, EngineStream, ExecSession, Result, Upload};
use fireactions_api::{
    CacheCounts, CacheEntryView, CacheGcReport, CacheGcRequest, CachesView, ConfigView, DoctorFinding,
    DrainRequest, Engine, ExecRequest, Fault, GcReport, GcRequest, ImageView, JobFilter, LogChunk,
    MachineUsage, PullEvent, Readiness, RegistryCacheView, ScaleRequest, Version,
};
use fireactions_forge::local::LocalForge;
use fireactions_forge::{Forges, HostedForge};
use fireactions_image::Images;
use fireactions_machine::Machinery;
use fireactions_model::{
    Digest, Event, ForgeView, HostView, ImageRef, JobId, JobRecord, JobSpec, JobState, MachineId,
    MachineView, Machines, Place, PoolName, PoolView, PullPolicy, TraceCounts, Unrecorded, WaitReason,
};
use fireactions_pool::PoolHandle;
use fireactions_store::Store;
use fireactions_telemetry::Counts;
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use wait_reason::Facts;

pub(super) use caches::Caches;
pub(super) use image_progress::Images as FetchedImages;
pub(super) use images::in_use as images_in_use;
pub(super) use told::Told;
pub(super) use usage::Usages;

/// Joins the parts to what the API asks for. It decides nothing.
pub(super) struct ServerEngine {
    pub(super) forge: LocalForge,
    pub(super) forges: Forges,
    pub(super) store: Store,
    pub(super) machines: Machinery,
    pub(super) usages: Usages,
    pub(super) pools: PoolHandle,
    pub(super) images: Images,
    pub(super) progress: FetchedImages,
    pub(super) events: broadcast::Sender<Event>,
    /// The state directory.
    pub(super) state: PathBuf,
    pub(super) uploads: PathBuf,
    pub(super) version: Version,
    pub(super) caches: Caches,
    /// How many traces came how far.
    pub(super) traces: Counts,
    pub(super) told: Arc<Told>,
    pub(super) stopping: CancellationToken,
}

impl ServerEngine {
    /// What a queued job waits for, as far as it is known: the forge says where it belongs at its next look.
    fn waiting(&self, id: &JobId) -> Option<WaitReason> {
        let at_forge = || self.queued_job(id)?.1;
        Some(self.reason(self.forge.place(id).or_else(at_forge)?))
    }

    /// A job that waits at a hosted forge.
    fn queued_job(&self, id: &JobId) -> Option<(JobRecord, Option<Place>)> {
        self.forges.hosted().find_map(|forge| forge.queued_job(id))
    }

    fn reason(&self, place: Place) -> WaitReason {
        let mut facts = Facts { place, outlook: None, machine: None, image: None, now: Timestamp::now() };
        if let Place::Pool { pool, shape, ahead } = &facts.place {
            facts.outlook = self.pools.outlook(pool, shape);
            let machine =
                facts.outlook.as_ref().and_then(|outlook| wait_reason::machine_for(outlook, *ahead));
            facts.machine = machine.and_then(|machine| self.machines.view(machine));
            facts.image = self.progress.of(shape.image.as_str());
        }
        wait_reason::reason(&facts)
    }

    /// What keeps the result of a job that has ended from being recorded.
    fn recording(&self, job: &JobRecord) -> Option<WaitReason> {
        let machine = self.machines.view(job.machine.as_ref()?)?;
        let Unrecorded { outcome, why } =
            machine.unrecorded.filter(|_| machine.job.as_ref() == Some(&job.id))?;
        Some(WaitReason::Recording { outcome, why })
    }

    /// With what is wrong with its runners at their forge.
    fn examined(&self, mut pool: PoolView) -> PoolView {
        pool.problem = self.forges.hosted().find_map(|forge| forge.problem(pool.name()));
        pool
    }

    /// A job that waits at its forge.
    fn at_forge(&self, (mut job, place): (JobRecord, Option<Place>)) -> JobRecord {
        job.waiting = place.map(|place| self.reason(place));
        job
    }

    fn explained(&self, mut job: JobRecord) -> JobRecord {
        self.explain(&mut job);
        job
    }
}

#[async_trait]
impl Engine for ServerEngine {
    fn upload_dir(&self) -> PathBuf {
        self.uploads.clone()
    }

    async fn submit(&self, spec: JobSpec, files: Vec<Upload>) -> Result<JobRecord> {
        if self.stopping.is_cancelled() {
            return Err(Fault::unavailable("the server is stopping and takes no new jobs"));
        }
        if let Some(image) = &spec.image {
            images::permitted(&self.images, image)?;
        }
        jobs::submit(&self.forge, spec, files).await.map(|job| self.explained(job))
    }

    fn explain(&self, job: &mut JobRecord) {
        job.waiting = match job.state {
            JobState::Queued => self.waiting(&job.id),
            JobState::Assigned | JobState::Running => self.recording(job),
            _ => None,
        };
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRecord>> {
        let most = jobs::most(&filter);
        let mut all = Vec::new();
        if matches!(filter.state, None | Some(JobState::Queued)) {
            let waiting = self.forges.hosted().flat_map(|forge| forge.queued(most));
            all.extend(waiting.map(|job| self.at_forge(job)));
        }
        let rows = jobs::list(&self.forge, filter.clone()).await?;
        all.extend(rows.into_iter().map(|job| self.explained(job)));
        Ok(jobs::newest(all, &filter))
    }

    async fn recent_jobs(&self, ended: u32) -> Result<Vec<JobRecord>> {
        let waiting: Vec<_> = self.forges.hosted().flat_map(|forge| forge.queued(jobs::MOST)).collect();
        let rows = jobs::recent(&self.forge, ended).await?.into_iter().map(|job| self.explained(job));
        Ok(waiting.into_iter().map(|job| self.at_forge(job)).chain(rows).collect())
    }

    async fn job_counts(&self) -> Result<BTreeMap<JobState, u64>> {
        self.store.job_counts().await.map_err(|e| jobs::store_fault(&e))
    }

    async fn job(&self, id: &JobId) -> Result<JobRecord> {
        let row = jobs::get(&self.forge, id).await;
        match row {
            Ok(job) => Ok(self.explained(job)),
            Err(unknown) => self.queued_job(id).map(|job| self.at_forge(job)).ok_or(unknown),
        }
    }

    async fn cancel(&self, id: &JobId) -> Result<JobRecord> {
        if let Some((waiting, _)) = self.queued_job(id) {
            let page = waiting.remote.and_then(|remote| remote.url);
            let hint =
                page.map_or_else(|| "cancel its run there".to_owned(), |url| format!("cancel it at {url}"));
            return Err(Fault::conflict(format!(
                "job {id} waits at its forge, not on this \
                 server"
            ))
            .hint(hint));
        }
        jobs::cancel(&self.forge, id).await
    }

    async fn job_log(&self, id: &JobId, from: u64, follow: bool) -> Result<EngineStream<LogChunk>> {
        jobs::log(&self.forge, &self.store, id, from, follow).await
    }

    async fn artifact(&self, id: &JobId, index: usize) -> Result<Download> {
        jobs::artifact(&self.forge, &self.store, id, index).await
    }

    async fn service_log(&self, id: &JobId, service: &str) -> Result<Bytes> {
        jobs::service_log(&self.forge, &self.store, &self.machines, id, service).await
    }

    async fn machines(&self) -> Result<Vec<MachineView>> {
        Ok(self.machines.views().into_iter().map(Arc::unwrap_or_clone).collect())
    }

    async fn machine(&self, id: &MachineId) -> Result<MachineView> {
        machines::view(&self.machines, id)
    }

    async fn usage(&self) -> Result<Vec<MachineUsage>> {
        self.usages.now(&self.machines).await
    }

    async fn remove_machine(&self, id: &MachineId) -> Result<MachineView> {
        machines::remove(&self.machines, id).await
    }

    async fn hold_machine(&self, id: &MachineId, secs: Option<u64>) -> Result<MachineView> {
        machines::hold(&self.machines, id, secs).await
    }

    async fn console(&self, id: &MachineId, tail: Option<u64>, follow: bool) -> Result<EngineStream<Bytes>> {
        machines::console(&self.machines, id, tail, follow).await
    }

    async fn exec(&self, id: &MachineId, request: ExecRequest) -> Result<ExecSession> {
        machines::exec(&self.machines, id, request).await
    }

    async fn host(&self) -> Result<HostView> {
        Ok(host::view(self.pools.host(), &self.machines, &self.state).await)
    }

    async fn drain_host(&self, to: DrainRequest) -> Result<HostView> {
        let before = self.pools.host().drained.map(|drained| drained.why);
        let why = to.drained.then(|| to.reason.or(before).unwrap_or_default());
        let host = self.pools.drain(why.as_deref()).await.map_err(|e| Fault::internal(e.to_string()))?;
        Ok(host::view(host, &self.machines, &self.state).await)
    }

    async fn pools(&self) -> Result<Vec<PoolView>> {
        Ok(self.pools.list().into_iter().map(|pool| self.examined(pool)).collect())
    }

    async fn pool(&self, name: &PoolName) -> Result<PoolView> {
        let found = self.pools.list().into_iter().find(|pool| pool.name() == name);
        found.map(|pool| self.examined(pool)).ok_or_else(|| no_pool(name))
    }

    async fn pause_pool(&self, name: &PoolName, paused: bool) -> Result<PoolView> {
        self.pool(name).await?;
        let changed = if paused { self.pools.pause(name).await } else { self.pools.resume(name).await };
        changed.map_err(|e| Fault::internal(e.to_string()))
    }

    async fn scale_pool(&self, name: &PoolName, to: ScaleRequest) -> Result<PoolView> {
        let now = self.pool(name).await?;
        let (min, max) = (to.min.unwrap_or(now.min_runners), to.max.unwrap_or(now.max_runners));
        if min > max {
            return Err(Fault::invalid(format!("min {min} is greater than max {max}")));
        }
        self.pools.scale(name, Some((min, max))).await.map_err(|e| Fault::invalid(e.to_string()))
    }

    async fn reset_scale(&self, name: &PoolName) -> Result<PoolView> {
        self.pool(name).await?;
        self.pools.scale(name, None).await.map_err(|e| Fault::internal(e.to_string()))
    }

    async fn images(&self) -> Result<Vec<ImageView>> {
        images::list(&self.images, &self.store).await
    }

    async fn pull_image(&self, image: ImageRef, policy: PullPolicy) -> Result<EngineStream<PullEvent>> {
        images::permitted(&self.images, &image)?;
        Ok(images::pull(&self.images, image, policy))
    }

    async fn remove_image(&self, what: &str) -> Result<Vec<Digest>> {
        images::remove(&self.images, &self.store, what).await
    }

    async fn gc_images(&self, request: GcRequest) -> Result<GcReport> {
        images::gc(&self.images, &self.store, request).await
    }

    async fn caches(&self) -> Result<CachesView> {
        Ok(self.caches.view().await)
    }

    async fn cache_entries(&self) -> Result<Vec<CacheEntryView>> {
        self.caches.entries()
    }

    async fn gc_cache(&self, request: CacheGcRequest) -> Result<CacheGcReport> {
        self.caches.gc(request).await
    }

    async fn gc_sticky(&self, request: CacheGcRequest) -> Result<CacheGcReport> {
        self.caches.gc_sticky(request).await
    }

    fn cache_counts(&self) -> CacheCounts {
        self.caches.counts()
    }

    async fn registry_cache(&self) -> Option<RegistryCacheView> {
        self.caches.registry_cache().await
    }

    fn trace_counts(&self) -> TraceCounts {
        self.traces.get()
    }

    fn forges(&self) -> Vec<ForgeView> {
        iter::once(self.forge.view()).chain(self.forges.hosted().map(HostedForge::view)).collect()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn doctor(&self) -> Result<Vec<DoctorFinding>> {
        self.told.doctor().await
    }

    fn config(&self) -> ConfigView {
        self.told.config()
    }

    async fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.stopping.is_cancelled() {
            reasons.push("the server is stopping".to_owned());
        }
        if let Err(error) = self.store.pools().await {
            reasons.push(format!("the state store does not answer: {error}"));
        }
        let ready = reasons.is_empty();
        if let Some(drained) = self.pools.host().drained {
            // Jobs are still queued, so this is not in a client's way.
            reasons.push(drained.to_string());
        }
        Readiness { ready, reasons }
    }

    fn version(&self) -> Version {
        self.version.clone()
    }
}

fn no_pool(name: &PoolName) -> Fault {
    Fault::not_found(format!("there is no pool '{name}'")).hint("see `fireactions pools list`")
}
