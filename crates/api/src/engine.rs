//! What the API needs from the server. The binary implements it; the API's own tests have one in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use fireactions_model::{
    Digest, Event, ForgeView, HostView, ImageRef, JobId, JobRecord, JobSpec, JobState, MachineId,
    MachineView, PoolName, PoolView, PullPolicy, TraceCounts,
};
use futures::stream::BoxStream;
use tempfile::TempPath;
use tokio::io::AsyncRead;
use tokio::sync::{broadcast, mpsc};

use crate::{
    CacheCounts, CacheEntryView, CacheGcReport, CacheGcRequest, CachesView, ConfigView, DoctorFinding,
    DrainRequest, ExecEvent, ExecInput, ExecRequest, Fault, GcReport, GcRequest, ImageView, JobFilter,
    LogChunk, MachineUsage, PullEvent, Readiness, RegistryCacheView, ScaleRequest, Version,
};

/// The result of every call.
pub type Result<T> = std::result::Result<T, Fault>;

/// A stream of a call; it ends after the first fault.
pub type EngineStream<T> = BoxStream<'static, Result<T>>;

/// An input file of a job, spooled into [`Engine::upload_dir`]. Whoever drops it removes the file; rename it
/// (`TempPath::persist`) to keep it.
#[derive(Debug)]
pub struct Upload {
    /// The spooled bytes, mode 0600.
    pub path: TempPath,
    /// Its size in bytes; equals the size in the specification.
    pub size: u64,
}

/// Something to send whole.
pub struct Download {
    /// Size in bytes.
    pub size: u64,
    /// The bytes.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").field("size", &self.size).finish_non_exhaustive()
    }
}

/// A program that runs in a machine. Dropping the session ends the program (hang-up). Both queues are short;
/// a full one is the back-pressure.
#[derive(Debug)]
pub struct ExecSession {
    /// To the program.
    pub input: mpsc::Sender<ExecInput>,
    /// From the program; `ExecEvent::Exit` is the last.
    pub output: mpsc::Receiver<ExecEvent>,
}

/// The server, as the API sees it. Calls return within seconds; what takes longer is a stream. The API puts a
/// deadline around each call and may drop its future at any await.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// A directory on the file system of the state directory, 0700, for files on their way in. What is in it at
    /// the server's start is left over and can go.
    fn upload_dir(&self) -> PathBuf;

    /// Queues a job durably. `files` has one entry for each of `spec.files`, in the same order.
    async fn submit(&self, spec: JobSpec, files: Vec<Upload>) -> Result<JobRecord>;

    /// Fills in what a queued job waits for ([`JobRecord::waiting`]), as far as it is known; leaves others alone.
    /// Called for every event of a job, so it does no IO.
    fn explain(&self, job: &mut JobRecord);

    /// Jobs, newest first, queued ones explained.
    async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRecord>>;

    /// Jobs for the live view, explained, in any order and each once: those that are not final (of the queued ones at least the newest
    /// 1000), and the newest `ended` that are.
    async fn recent_jobs(&self, ended: u32) -> Result<Vec<JobRecord>>;

    /// How many jobs are in each state, for the metrics.
    async fn job_counts(&self) -> Result<BTreeMap<JobState, u64>>;

    /// One job, explained.
    async fn job(&self, id: &JobId) -> Result<JobRecord>;

    /// Cancels a job; for a final job it does nothing. Returns the job as it then stands.
    async fn cancel(&self, id: &JobId) -> Result<JobRecord>;

    /// A job's output from the position `from` (0, or a chunk's `next`). With `follow` it ends when the job is
    /// final and all its output was given, else at the present end of the log.
    async fn job_log(&self, id: &JobId, from: u64, follow: bool) -> Result<EngineStream<LogChunk>>;

    /// The tar archive of the job's artifact number `index`, in the order of its specification.
    async fn artifact(&self, id: &JobId, index: usize) -> Result<Download>;

    /// What a service of the job's pool has written: of a running job, until now; of one that has ended, until then.
    async fn service_log(&self, id: &JobId, service: &str) -> Result<Bytes>;

    /// Every machine that has a row.
    async fn machines(&self) -> Result<Vec<MachineView>>;

    /// One machine.
    async fn machine(&self, id: &MachineId) -> Result<MachineView>;

    /// What every machine that runs uses now. Asked often, it looks once a second.
    async fn usage(&self) -> Result<Vec<MachineUsage>>;

    /// Lets an idle or held machine go at once. One that has a job is a conflict. Returns it as it then stands.
    async fn remove_machine(&self, id: &MachineId) -> Result<MachineView>;

    /// Has a machine held for so many seconds once its job has ended, or takes that back. Durable. One without a job, or whose job has
    /// ended, is a conflict. Returns it as it then stands.
    async fn hold_machine(&self, id: &MachineId, secs: Option<u64>) -> Result<MachineView>;

    /// A machine's console: its last `tail` lines (everything kept when absent), then, with `follow`, what it
    /// goes on to say until the machine is gone.
    async fn console(&self, id: &MachineId, tail: Option<u64>, follow: bool) -> Result<EngineStream<Bytes>>;

    /// Runs a program in a machine.
    async fn exec(&self, id: &MachineId, request: ExecRequest) -> Result<ExecSession>;

    /// The host as a whole.
    async fn host(&self) -> Result<HostView>;

    /// Drains the host, or lets it take work again. Durable and idempotent; one that is drained keeps its time.
    async fn drain_host(&self, to: DrainRequest) -> Result<HostView>;

    /// Every pool, in the order of the configuration.
    async fn pools(&self) -> Result<Vec<PoolView>>;

    /// One pool.
    async fn pool(&self, name: &PoolName) -> Result<PoolView>;

    /// Pauses (`true`) or resumes (`false`) the making of machines. Running jobs continue either way.
    async fn pause_pool(&self, name: &PoolName, paused: bool) -> Result<PoolView>;

    /// Changes a pool's bounds.
    async fn scale_pool(&self, name: &PoolName, to: ScaleRequest) -> Result<PoolView>;
    /// Restores a pool's configured bounds.
    async fn reset_scale(&self, name: &PoolName) -> Result<PoolView>;

    /// Images in the store.
    async fn images(&self) -> Result<Vec<ImageView>>;

    /// Begins a pull; dropping the stream drops this caller's interest in it.
    async fn pull_image(&self, image: ImageRef, policy: PullPolicy) -> Result<EngineStream<PullEvent>>;

    /// Removes an image by name or digest prefix. An image in use is a conflict.
    async fn remove_image(&self, what: &str) -> Result<Vec<Digest>>;

    /// Removes images that nothing uses.
    async fn gc_images(&self, request: GcRequest) -> Result<GcReport>;

    /// The host's caches.
    async fn caches(&self) -> Result<CachesView>;

    /// The entries of the cache of actions, those used last first.
    async fn cache_entries(&self) -> Result<Vec<CacheEntryView>>;

    /// Removes entries of the cache of actions.
    async fn gc_cache(&self, request: CacheGcRequest) -> Result<CacheGcReport>;

    /// Removes what sticky directories keep.
    async fn gc_sticky(&self, request: CacheGcRequest) -> Result<CacheGcReport>;

    /// The numbers of the cache of actions, for the metrics; all 0 without one.
    fn cache_counts(&self) -> CacheCounts;

    /// The cache of registries, for the metrics, without what takes time to find out; nothing where it is off.
    async fn registry_cache(&self) -> Option<RegistryCacheView>;

    /// The numbers of the traces, for the metrics; all 0 where nobody is told of them.
    fn trace_counts(&self) -> TraceCounts;

    /// Every forge that jobs come from, for the metrics.
    fn forges(&self) -> Vec<ForgeView>;

    /// Everything that happens from now on.
    fn events(&self) -> broadcast::Receiver<Event>;

    /// Examines the host. It takes seconds, and starts programs.
    async fn doctor(&self) -> Result<Vec<DoctorFinding>>;

    /// The configuration that the server runs with, without secrets.
    fn config(&self) -> ConfigView;

    /// Whether jobs are accepted and can run.
    async fn readiness(&self) -> Readiness;

    /// What runs.
    fn version(&self) -> Version;
}
