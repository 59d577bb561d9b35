//! An engine in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fireactions_api::engine::{EngineStream, Result};
use fireactions_api::*;
use fireactions_model::*;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::{broadcast, mpsc};

/// What was submitted: a specification and the bytes of its files.
pub type Submitted = (JobSpec, Vec<Vec<u8>>);

pub struct Fake {
    pub dir: tempfile::TempDir,
    pub events: broadcast::Sender<Event>,
    pub submitted: Mutex<Vec<Submitted>>,
    pub pool: Mutex<PoolView>,
    pub host: Mutex<HostView>,
    pub forges: Mutex<Vec<ForgeView>>,
    pub machine: Mutex<MachineView>,
    /// Beside that one.
    pub more: Mutex<Vec<MachineView>>,
    /// What the live view shows.
    pub recent: Mutex<Vec<JobRecord>>,
    /// How often the host was examined.
    pub examined: std::sync::atomic::AtomicUsize,
    /// The live view's question finds no answer.
    pub stuck: Mutex<bool>,
    /// How often the engine was asked for what the live view shows.
    pub looks: std::sync::atomic::AtomicUsize,
    /// How logs and consoles go on after what they have.
    pub rest: Mutex<Rest>,
    /// Makes every call wait, to see deadlines.
    pub delay: Mutex<Duration>,
}

/// How logs and consoles go on after what they have.
#[derive(Default, Clone, Copy)]
pub enum Rest {
    /// Consoles that are followed wait; everything else ends.
    #[default]
    Usual,
    /// Nothing more comes, and no end.
    Silence,
    /// They break.
    Fault,
    /// They never end.
    Flood,
}

impl Rest {
    fn of<T: Send + 'static>(self, more: impl Fn() -> T + Send + 'static) -> EngineStream<T> {
        match self {
            Self::Usual => stream::empty().boxed(),
            Self::Silence => stream::pending().boxed(),
            Self::Fault => stream::iter([Err(Fault::internal("the disk is gone"))]).boxed(),
            Self::Flood => stream::repeat_with(move || Ok(more())).boxed(),
        }
    }
}

pub fn job_id() -> JobId {
    JobId::from_random([1; 8])
}

pub fn machine_id() -> MachineId {
    MachineId::from_random([2; 8])
}

pub fn digest() -> Digest {
    Digest::new(format!("sha256:{}", "a".repeat(64))).unwrap()
}

fn shape() -> Shape {
    Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 2, memory_mib: 512, disk_mib: 1024 }
}

pub fn spec() -> JobSpec {
    serde_json::from_str(r#"{"program":{"command":{"argv":["true"]}}}"#).unwrap()
}

/// What the engine knows, and no answer tells.
pub const HIDDEN: &str = "hunter2hunter2";

pub fn job(state: JobState) -> JobRecord {
    let now = Timestamp::UNIX_EPOCH;
    JobRecord {
        id: job_id(),
        spec: JobSpec { env: vec![("TOKEN".to_owned(), HIDDEN.to_owned())], ..spec() },
        state,
        attempt: 1,
        pool: Some(PoolName::new("default").unwrap()),
        machine: Some(machine_id()),
        cancel_requested: false,
        outcome: state.is_final().then_some(Outcome::Exited { code: 3 }),
        reason: None,
        usage: Usage::default(),
        phases: PhaseTimes::from([(Phase::Kernel, 1_500_000)]),
        notes: Vec::new(),
        waiting: None,
        autopsy: None,
        remote: None,
        queued_at: now,
        assigned_at: None,
        started_at: None,
        finished_at: None,
    }
}

pub fn machine() -> MachineView {
    MachineView {
        id: machine_id(),
        pool: PoolName::new("default").unwrap(),
        shape: shape(),
        state: MachineState::Busy,
        step: Step::Running,
        job: Some(job_id()),
        pid: Some(1),
        address: Some("172.30.0.2".parse().unwrap()),
        failure: None,
        phases: PhaseTimes::new(),
        created_at: Timestamp::UNIX_EPOCH,
        state_since: Timestamp::UNIX_EPOCH,
        held_until: None,
        hold_secs: None,
        started: None,
        unrecorded: None,
    }
}

fn pool() -> PoolView {
    PoolView {
        spec: PoolSpec {
            min_runners: 1,
            max_runners: 3,
            metadata: serde_json::json!({"key": HIDDEN}),
            user_data: Some(HIDDEN.to_owned()),
            ..PoolSpec::new(PoolName::new("default").unwrap(), shape())
        },
        paused: false,
        host_drained: false,
        min_runners: 1,
        max_runners: 3,
        machines: BTreeMap::from([(MachineState::Busy, 1)]),
        queued: 2,
        backoff: None,
        waiting_for: None,
        problem: None,
    }
}

fn known(id: &JobId) -> Result<()> {
    if *id == job_id() {
        return Ok(());
    }
    Err(Fault::not_found(format!("there is no job {id}")).hint("`fireactions jobs list` lists them"))
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            dir: tempfile::tempdir().unwrap(),
            events: broadcast::channel(64).0,
            submitted: Mutex::default(),
            pool: Mutex::new(pool()),
            forges: Mutex::default(),
            host: Mutex::new(HostView {
                drained: None,
                machines: BTreeMap::from([(MachineState::Busy, 1), (MachineState::Held, 1)]),
                budget: HostBudget::default(),
            }),
            machine: Mutex::new(machine()),
            more: Mutex::default(),
            recent: Mutex::new(vec![job(JobState::Running)]),
            examined: std::sync::atomic::AtomicUsize::new(0),
            stuck: Mutex::default(),
            looks: std::sync::atomic::AtomicUsize::new(0),
            rest: Mutex::default(),
            delay: Mutex::default(),
        })
    }

    fn known_pool(&self, name: &PoolName) -> Result<std::sync::MutexGuard<'_, PoolView>> {
        let pool = self.pool.lock().unwrap();
        if *name == pool.spec.name {
            Ok(pool)
        } else {
            Err(Fault::not_found(format!("there is no pool '{name}'")))
        }
    }

    /// Files left in the upload directory.
    pub fn spooled(&self) -> usize {
        std::fs::read_dir(self.dir.path()).unwrap().count()
    }
}

#[async_trait]
impl Engine for Fake {
    fn upload_dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    async fn submit(&self, spec: JobSpec, files: Vec<Upload>) -> Result<JobRecord> {
        let bytes = files
            .iter()
            .map(|file| {
                let bytes = std::fs::read(&file.path).unwrap();
                assert_eq!(bytes.len() as u64, file.size);
                bytes
            })
            .collect();
        self.submitted.lock().unwrap().push((spec, bytes));
        Ok(job(JobState::Queued))
    }

    fn explain(&self, job: &mut JobRecord) {
        job.waiting = (job.state == JobState::Queued)
            .then(|| WaitReason::Paused { pool: PoolName::new("default").unwrap() });
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRecord>> {
        assert!((1..=1000).contains(&filter.limit.unwrap()));
        let all = [job(JobState::Running), job(JobState::Failed)];
        Ok(all
            .into_iter()
            .filter(|job| filter.state.is_none_or(|state| state == job.state))
            .filter(|job| !filter.active || !job.state.is_final())
            .collect())
    }

    async fn recent_jobs(&self, _ended: u32) -> Result<Vec<JobRecord>> {
        self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if *self.stuck.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        // A look that others interrupt.
        tokio::task::yield_now().await;
        Ok(self.recent.lock().unwrap().clone())
    }

    async fn job_counts(&self) -> Result<BTreeMap<JobState, u64>> {
        Ok(BTreeMap::from([(JobState::Queued, 2), (JobState::Failed, 1)]))
    }

    async fn job(&self, id: &JobId) -> Result<JobRecord> {
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        known(id).map(|()| job(JobState::Failed))
    }

    async fn cancel(&self, id: &JobId) -> Result<JobRecord> {
        known(id).map(|()| JobRecord { cancel_requested: true, ..job(JobState::Running) })
    }

    async fn job_log(&self, id: &JobId, from: u64, _follow: bool) -> Result<EngineStream<LogChunk>> {
        known(id)?;
        let chunk = |next, stream, data: &'static [u8]| LogChunk {
            next,
            at: Timestamp::UNIX_EPOCH,
            stream,
            data: Bytes::from_static(data),
        };
        let all = [
            chunk(1, Stream::Stdout, b"out\n\xff"),
            chunk(2, Stream::Stderr, b"err\n"),
            chunk(3, Stream::Stdout, b"end\n"),
        ];
        let rest = self.rest.lock().unwrap().of(move || chunk(4, Stream::Stdout, b"more"));
        Ok(stream::iter(all.into_iter().filter(move |chunk| chunk.next > from).map(Ok)).chain(rest).boxed())
    }

    async fn artifact(&self, id: &JobId, index: usize) -> Result<Download> {
        known(id)?;
        if index > 0 {
            return Err(Fault::not_found(format!("job {id} has no artifact {index}")));
        }
        Ok(Download { size: 3, reader: Box::new(&b"tar"[..]) })
    }

    async fn service_log(&self, id: &JobId, service: &str) -> Result<Bytes> {
        known(id)?;
        match service {
            "dockerd" => Ok(Bytes::from_static(b"listens\n")),
            _ => Err(Fault::not_found(format!("job {id} has no log of a service '{service}'"))),
        }
    }

    async fn caches(&self) -> Result<CachesView> {
        let counts = MirrorCounts { offline: true, hits: 5, misses: 6, sent_bytes: 7, upstream_errors: 4 };
        let mirror = MirrorView {
            registry: "docker.io".into(),
            address: "10.0.0.1:5000".into(),
            up: true,
            counts: Some(counts),
        };
        Ok(CachesView {
            actions: Some(ActionsCacheView { up: true, counts: self.cache_counts(), ..Default::default() }),
            registries: Some(RegistryCacheView {
                bytes: Some(7),
                free_bytes: Some(8),
                counts: Some(RegistryCacheCounts { evicted_bytes: 9, full: true }),
                mirrors: vec![mirror],
                ..Default::default()
            }),
            sticky: Some(StickyView {
                max_bytes: 9,
                bytes: 4,
                volumes: vec![StickyVolumeView {
                    owner: "gitea/acme/app".into(),
                    key: "cargo".into(),
                    disk_bytes: 8,
                    bytes: 4,
                    written_by: "push refs/heads/main".into(),
                    kept_at: Timestamp::UNIX_EPOCH,
                    last_used: Timestamp::UNIX_EPOCH,
                }],
            }),
        })
    }

    async fn cache_entries(&self) -> Result<Vec<CacheEntryView>> {
        Ok(vec![CacheEntryView {
            id: "a1".into(),
            repository: "gitea/acme/app#1".into(),
            scope: "refs/heads/main".into(),
            key: "deps".into(),
            version: "1".into(),
            size: 3,
            created_at: Timestamp::UNIX_EPOCH,
            last_used: Timestamp::UNIX_EPOCH,
        }])
    }

    async fn gc_cache(&self, request: CacheGcRequest) -> Result<CacheGcReport> {
        Ok(CacheGcReport { removed: 1, freed: 3, left: request.max_bytes.unwrap_or(9) })
    }

    async fn gc_sticky(&self, request: CacheGcRequest) -> Result<CacheGcReport> {
        Ok(CacheGcReport { removed: 2, freed: 4, left: request.max_bytes.unwrap_or(9) })
    }

    fn cache_counts(&self) -> CacheCounts {
        CacheCounts { hits: 3, misses: 2, entries: 1, bytes: 3, ..Default::default() }
    }

    async fn registry_cache(&self) -> Option<RegistryCacheView> {
        self.caches().await.ok()?.registries
    }

    fn trace_counts(&self) -> TraceCounts {
        let dropped = vec![("full", 2), ("unreachable", 0), ("refused", 1), ("stopped", 0)];
        TraceCounts { sent: 5, waiting: 1, dropped, rejected_spans: 0, failures: 3 }
    }

    async fn machines(&self) -> Result<Vec<MachineView>> {
        let first = self.machine.lock().unwrap().clone();
        Ok(std::iter::once(first).chain(self.more.lock().unwrap().iter().cloned()).collect())
    }

    async fn machine(&self, id: &MachineId) -> Result<MachineView> {
        if *id == machine_id() {
            Ok(self.machine.lock().unwrap().clone())
        } else {
            Err(Fault::not_found(format!("there is no machine {id}")))
        }
    }

    async fn usage(&self) -> Result<Vec<MachineUsage>> {
        let other = MachineUsage { machine: MachineId::from_random([9; 8]), memory: 1, millicores: None };
        Ok(vec![MachineUsage { machine: machine_id(), memory: 64 << 20, millicores: Some(1250) }, other])
    }

    async fn remove_machine(&self, id: &MachineId) -> Result<MachineView> {
        let machine = self.machine(id).await?;
        if machine.state.is_busy() {
            return Err(Fault::conflict(format!("machine {id} has a job")));
        }
        self.machine.lock().unwrap().state = MachineState::Stopping;
        self.machine(id).await
    }

    async fn hold_machine(&self, id: &MachineId, secs: Option<u64>) -> Result<MachineView> {
        if !self.machine(id).await?.state.is_busy() {
            return Err(Fault::conflict(format!("machine {id} has no job")));
        }
        self.machine.lock().unwrap().hold_secs = secs;
        self.machine(id).await
    }

    async fn console(&self, _id: &MachineId, tail: Option<u64>, follow: bool) -> Result<EngineStream<Bytes>> {
        let text = Bytes::from(format!("tail {tail:?}\n"));
        let first = stream::iter([Ok(text)]);
        let rest = match *self.rest.lock().unwrap() {
            Rest::Usual if follow => Rest::Silence,
            rest => rest,
        };
        Ok(first.chain(rest.of(|| Bytes::from_static(&[b'x'; 16 * 1024]))).boxed())
    }

    /// Repeats its input on stdout and sizes on stderr; ends with code 7 at the end of the input.
    async fn exec(&self, _id: &MachineId, request: ExecRequest) -> Result<ExecSession> {
        if request.argv == ["missing"] {
            return Err(Fault::invalid("there is no program 'missing'"));
        }
        let (input, mut inputs) = mpsc::channel(4);
        let (outputs, output) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(input) = inputs.recv().await {
                let event = match input {
                    ExecInput::Stdin(data) => ExecEvent::Output(Stream::Stdout, data),
                    ExecInput::Resize(size) => {
                        ExecEvent::Output(Stream::Stderr, Bytes::from(format!("{}x{}", size.rows, size.cols)))
                    }
                    ExecInput::Eof => ExecEvent::Exit(ExecExit::Code(7)),
                };
                if outputs.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok(ExecSession { input, output })
    }

    async fn host(&self) -> Result<HostView> {
        Ok(self.host.lock().unwrap().clone())
    }

    async fn drain_host(&self, to: DrainRequest) -> Result<HostView> {
        let mut host = self.host.lock().unwrap();
        host.drained =
            to.drained.then(|| Drained { since: Timestamp::UNIX_EPOCH, why: to.reason.unwrap_or_default() });
        Ok(host.clone())
    }

    async fn pools(&self) -> Result<Vec<PoolView>> {
        Ok(vec![self.pool.lock().unwrap().clone()])
    }

    async fn pool(&self, name: &PoolName) -> Result<PoolView> {
        self.known_pool(name).map(|pool| pool.clone())
    }

    async fn pause_pool(&self, name: &PoolName, paused: bool) -> Result<PoolView> {
        let mut pool = self.known_pool(name)?;
        pool.paused = paused;
        Ok(pool.clone())
    }

    async fn scale_pool(&self, name: &PoolName, to: ScaleRequest) -> Result<PoolView> {
        let mut pool = self.known_pool(name)?;
        pool.min_runners = to.min.unwrap_or(pool.min_runners);
        pool.max_runners = to.max.unwrap_or(pool.max_runners);
        Ok(pool.clone())
    }

    async fn reset_scale(&self, name: &PoolName) -> Result<PoolView> {
        let mut pool = self.known_pool(name)?;
        (pool.min_runners, pool.max_runners) = (pool.spec.min_runners, pool.spec.max_runners);
        Ok(pool.clone())
    }

    async fn images(&self) -> Result<Vec<ImageView>> {
        Ok(vec![ImageView {
            digest: digest(),
            names: vec![ImageRef::new("debian:12").unwrap()],
            size: 1 << 20,
            templates: 0,
            in_use: true,
            created_at: Timestamp::UNIX_EPOCH,
            last_used: Timestamp::UNIX_EPOCH,
        }])
    }

    async fn pull_image(&self, image: ImageRef, _policy: PullPolicy) -> Result<EngineStream<PullEvent>> {
        let step = |status, done, digest| PullEvent { status, done, total: Some(10), digest };
        let end = if image.as_str() == "broken:1" {
            Err(Fault::unavailable("the registry does not answer").hint("try later"))
        } else {
            Ok(step(PullStatus::Ready, 10, Some(digest())))
        };
        let first = stream::iter([Ok(step(PullStatus::Pulling, 5, None))]);
        if image.as_str() == "slow:1" {
            return Ok(first.chain(stream::pending()).boxed());
        }
        Ok(first.chain(stream::iter([end])).boxed())
    }

    async fn remove_image(&self, what: &str) -> Result<Vec<Digest>> {
        if what == "registry:5000/team/image:1" {
            Ok(vec![digest()])
        } else {
            Err(Fault::conflict(format!("{what} is in use")))
        }
    }

    async fn gc_images(&self, request: GcRequest) -> Result<GcReport> {
        Ok(GcReport { removed: vec![digest()], freed: request.max_bytes.unwrap_or(0), left: 1 })
    }

    fn forges(&self) -> Vec<ForgeView> {
        self.forges.lock().unwrap().clone()
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    async fn doctor(&self) -> Result<Vec<DoctorFinding>> {
        self.examined.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        Ok(vec![DoctorFinding {
            group: "host".into(),
            name: "memory".into(),
            verdict: DoctorVerdict::Warning,
            found: "1 GiB".into(),
            fix: Some("buy some".into()),
        }])
    }

    fn config(&self) -> ConfigView {
        let entry = ConfigEntry {
            path: "pools[default].runner.image".into(),
            value: "debian:12".into(),
            default: false,
            doc: "The image.".into(),
        };
        ConfigView { entries: vec![entry] }
    }

    async fn readiness(&self) -> Readiness {
        Readiness { ready: false, reasons: vec!["no kernel".to_owned()] }
    }

    fn version(&self) -> Version {
        Version {
            version: "1.2.3".into(),
            vmm: "qemu".into(),
            vmm_version: "7.2".into(),
            accel: "tcg".into(),
            pid: 1,
        }
    }
}
