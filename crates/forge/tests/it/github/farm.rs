//! A server's part of the work without VMs: pools follow demand, and each machine is a process that runs what the forge
//! gives it, in a directory of its own with the stand-in runner.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_forge::{Forges, HostedForge, HostedSettings, github as github_forge};
use fireactions_github::{App, Credentials, Github, Settings, Timeouts};
use fireactions_model::{
    Event, Forge, ForgeName, JobCaches, JobRecord, MachineId, Offer, Outcome, Output, PhaseTimes, PoolName,
    PoolSpec, Program, Release, Report, Secret, Stream, Usage, Work,
};
use fireactions_store::{JobFilter, Store};
use fireactions_testkit::github::{AppKey, FakeGithub, runner};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use fireactions_testkit::pools::of_github as pool;

/// Nothing takes longer, on the busiest host. A runner that was killed at the wrong moment covers its job for a minute.
pub(crate) const SOON: Duration = Duration::from_secs(240);

/// A server's second: this GitHub is near.
const PACE: Duration = Duration::from_millis(100);

/// The webhook's secret.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// A GitHub with an organization, a repository and an App that is installed there.
pub(crate) fn github() -> (FakeGithub, AppKey) {
    let fake = FakeGithub::local();
    fake.repository("acme/widgets");
    let app = fake.app("runners");
    fake.install_fully(app.id, "acme");
    (fake, app)
}

/// The key as a client reads it, which a test may change.
pub(crate) type Key = Arc<Mutex<String>>;

/// How the server is set up.
pub(crate) struct Setup {
    pub(crate) pools: Vec<PoolSpec>,
    pub(crate) audit: Duration,
    pub(crate) surplus: Duration,
    pub(crate) conflict: Duration,
    pub(crate) app: u64,
    pub(crate) key: Key,
    /// Machines are made as jobs want them; otherwise the test plays them itself.
    pub(crate) machines: bool,
    pub(crate) caches: Option<Arc<dyn JobCaches>>,
    /// It has the jobs with other hosts.
    pub(crate) shared: bool,
}

impl Setup {
    pub(crate) fn new(app: &AppKey, pools: Vec<PoolSpec>) -> Self {
        Self {
            pools,
            audit: Duration::from_secs(3600),
            surplus: Duration::from_secs(90),
            conflict: Duration::from_millis(200),
            app: app.id,
            key: Arc::new(Mutex::new(app.pkcs1.clone())),
            machines: true,
            caches: None,
            shared: false,
        }
    }
}

/// Where a server has its state, and its machines what they need.
pub(crate) struct Place {
    path: PathBuf,
    /// Removes it at the end, unless it is another process's.
    _own: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        Self { path: own.path().to_owned(), _own: Some(own) }
    }

    /// Somebody else's.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), _own: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A running server, as far as it matters here.
pub(crate) struct Farm {
    pub(crate) dir: Place,
    pub(crate) store: Store,
    pub(crate) github: HostedForge,
    pub(crate) events: broadcast::Sender<Event>,
    forges: Forges,
    stop: CancellationToken,
    forge_task: JoinHandle<()>,
    keeper: JoinHandle<()>,
    machines: Machines,
    idle: Idle,
}

pub(crate) type Machines = Arc<Mutex<HashMap<MachineId, JoinHandle<()>>>>;

/// Machines that wait for work.
pub(crate) type Idle = Arc<Mutex<HashSet<MachineId>>>;

impl Farm {
    /// Starts on an empty state.
    pub(crate) async fn start(fake: &FakeGithub, setup: &Setup) -> Self {
        Self::start_in(&fake.url(), setup, Place::new()).await
    }

    /// Starts where another server was.
    pub(crate) async fn start_in(url: &str, setup: &Setup, dir: Place) -> Self {
        let farm = Self::open(url, setup, dir).await;
        farm.forges.recover().await.unwrap();
        farm
    }

    /// The same with machines that are there already, by the jobs that they have.
    pub(crate) async fn open(url: &str, setup: &Setup, dir: Place) -> Self {
        install_runner(dir.path());
        let store = Store::open(dir.path().join("state")).unwrap();
        let (events, _) = broadcast::channel(1024);
        let local = LocalForge::new(store.clone(), events.clone(), LocalConfig::default()).await.unwrap();
        let key = Arc::clone(&setup.key);
        let app = App {
            id: setup.app.to_string(),
            key: Arc::new(move || Ok(Secret::new(key.lock().unwrap().clone()))),
        };
        let client = Settings {
            url: url.parse().unwrap(),
            credentials: Credentials::Apps(vec![app]),
            ca_pem: None,
            proxy: None,
        };
        let timeouts = Timeouts { backoff: PACE / 2, ..Timeouts::default() };
        let client = Github::with_timeouts(client, timeouts).unwrap();
        let settings = HostedSettings {
            audit_interval: setup.audit,
            surplus_after: setup.surplus,
            conflict_pause: setup.conflict,
            pace: PACE,
            webhook: Some(Arc::new(|| vec![Ok(Secret::new(SECRET))])),
            caches: setup.caches.clone(),
            shared: setup.shared,
            ..HostedSettings::new("host")
        };
        let github = github_forge::forge(
            ForgeName::github(),
            local.clone(),
            events.clone(),
            client,
            settings,
            &setup.pools,
        )
        .await
        .unwrap();
        let forges = Forges::new(local, [github.clone()]);
        let stop = CancellationToken::new();
        let forge_task = tokio::spawn(github.clone().run(setup.pools.clone(), stop.clone()));
        let machines = Machines::default();
        let home = dir.path().to_owned();
        let at_home = move |forges: Forges, id: MachineId, work: Work| {
            let home = home.clone();
            async move { perform(&forges, &id, &work, &home).await }.boxed()
        };
        let idle = Idle::default();
        let shared = (Arc::clone(&machines), Arc::clone(&idle));
        let keeping = keep(forges.clone(), setup.pools.clone(), shared, stop.clone(), at_home);
        let keeper = if setup.machines { tokio::spawn(keeping) } else { tokio::spawn(async {}) };
        Self { dir, store, github, events, forges, stop, forge_task, keeper, machines, idle }
    }

    /// Ends it as SIGTERM does. Gives what it leaves.
    pub(crate) async fn stop(self) -> Place {
        self.stop.cancel();
        self.forge_task.await.unwrap();
        self.keeper.await.unwrap();
        for (_, machine) in self.machines.lock().unwrap().drain() {
            machine.abort();
        }
        self.store.close().await;
        self.dir
    }

    /// Ends it as a crash does, with its machines; nobody is told anything. Gives its state as the crash left it: the database
    /// was not closed.
    pub(crate) async fn kill(self) -> Place {
        self.forge_task.abort();
        self.keeper.abort();
        let _ = (self.forge_task.await, self.keeper.await);
        let machines: Vec<_> = self.machines.lock().unwrap().drain().map(|(_, machine)| machine).collect();
        for machine in machines {
            machine.abort();
            let _ = machine.await;
        }
        let left = Place::new();
        copy(&self.dir.path().join("state"), &left.path().join("state"));
        let log = left.path().join("state/state.db-wal");
        assert!(
            log.metadata().is_ok_and(|log| log.len() > 0),
            "a database that was closed has no log any more"
        );
        // What ends in order from here on is nobody's state.
        self.stop.cancel();
        self.store.close().await;
        left
    }

    /// A machine's forge, for tests that play the machine themselves.
    pub(crate) fn forges(&self) -> &Forges {
        &self.forges
    }

    pub(crate) async fn rows(&self) -> Vec<JobRecord> {
        self.store.jobs(JobFilter::default()).await.unwrap()
    }

    /// Machines that there are.
    pub(crate) fn machines(&self) -> usize {
        self.machines.lock().unwrap().values().filter(|machine| !machine.is_finished()).count()
    }

    /// Gives, whenever it is asked, how many machines there are and how many of them wait for work.
    pub(crate) fn watched(&self) -> impl Fn() -> (u32, u32) + Send + Sync + 'static {
        watched(&self.machines, &self.idle)
    }

    /// Kills the machine that has this runner, as a host's out-of-memory killer would.
    pub(crate) async fn lose_machine(&self, runner: &str) {
        let row = self
            .rows()
            .await
            .into_iter()
            .find(|row| row.remote.as_ref().is_some_and(|remote| remote.runner.as_deref() == Some(runner)))
            .unwrap();
        let machine = row.machine.unwrap();
        let task = self.machines.lock().unwrap().remove(&machine).unwrap();
        task.abort();
        let _ = task.await;
        let report = report(Outcome::Lost { reason: "the VMM was killed".to_owned() }, Vec::new());
        self.forges.finished(&row.id, &machine, &report).await.unwrap();
    }
}

/// Gives, whenever it is asked, how many machines there are and how many of them wait for work.
pub(crate) fn watched(machines: &Machines, idle: &Idle) -> impl Fn() -> (u32, u32) + Send + Sync + 'static {
    let (machines, idle) = (Arc::clone(machines), Arc::clone(idle));
    move || {
        let idle = idle.lock().unwrap().len();
        let all = machines.lock().unwrap().values().filter(|machine| !machine.is_finished()).count();
        (u32::try_from(all.max(idle)).unwrap(), u32::try_from(idle).unwrap())
    }
}

/// A job's script that ends when the gate of this name is opened.
pub(crate) fn gate(farm: &Farm, name: &str) -> String {
    format!("until [ -e '{}' ]; do sleep 0.05; done", farm.dir.path().join(name).display())
}

/// Opens a gate.
pub(crate) fn open_gate(farm: &Farm, name: &str) {
    std::fs::write(farm.dir.path().join(name), "").unwrap();
}

/// Waits until `done` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, done: impl FnMut() -> F) -> T {
    wait(done).await.unwrap_or_else(|| panic!("{what}: not within {SOON:?}"))
}

/// Waits until `done` gives something, and not for ever.
pub(crate) async fn wait<T, F: Future<Output = Option<T>>>(mut done: impl FnMut() -> F) -> Option<T> {
    let end = tokio::time::Instant::now() + SOON;
    loop {
        let found = done().await;
        if found.is_some() || tokio::time::Instant::now() >= end {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Processes at work below a directory.
pub(crate) fn processes(dir: &Path) -> Vec<i32> {
    let below = |path: &Path| std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
    let below = std::fs::read_dir("/proc").unwrap().flatten().filter(move |process| below(&process.path()));
    below.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// `busybox` under the names of its applets, and the runner.
fn install_runner(dir: &Path) {
    let bin = dir.join("bin");
    if bin.exists() {
        return;
    }
    std::fs::create_dir(&bin).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("busybox (the package busybox-static) is needed");
    let list = std::process::Command::new(busybox).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines() {
        std::os::unix::fs::symlink(busybox, bin.join(applet)).unwrap();
    }
}

/// What pools do: machines as many as jobs want, and no more than may be. `perform` is how a machine does its work.
pub(crate) async fn keep(
    forges: Forges,
    pools: Vec<PoolSpec>,
    (machines, all_idle): (Machines, Idle),
    stop: CancellationToken,
    perform: impl Fn(Forges, MachineId, Work) -> BoxFuture<'static, ()> + Clone + Send + 'static,
) {
    let mut of_pool: HashMap<PoolName, Vec<MachineId>> = HashMap::new();
    let sources = forges.sources();
    while !stop.is_cancelled() {
        let mut demand = BTreeMap::new();
        for source in &sources {
            let served: Vec<PoolSpec> = pools.iter().filter(|pool| source.serves(pool)).cloned().collect();
            demand.extend(source.demand(&served).await.unwrap());
        }
        for pool in &pools {
            let mine = of_pool.entry(pool.name.clone()).or_default();
            mine.retain(|id| machines.lock().unwrap().get(id).is_some_and(|machine| !machine.is_finished()));
            let idle = mine.iter().filter(|id| all_idle.lock().unwrap().contains(*id)).count();
            let wanted: u32 = demand[&pool.name].values().sum();
            let lacking = usize::try_from(wanted).unwrap().saturating_sub(idle);
            let room = usize::try_from(pool.max_runners).unwrap().saturating_sub(mine.len());
            for _ in 0..lacking.min(room) {
                let id = MachineId::from_random(rand::random());
                mine.push(id.clone());
                all_idle.lock().unwrap().insert(id.clone());
                let offer =
                    Offer { machine: id.clone(), pool: pool.clone().into(), shape: pool.shape.clone() };
                let life = live(forges.clone(), offer, Arc::clone(&all_idle), perform.clone());
                machines.lock().unwrap().insert(id, tokio::spawn(life));
            }
        }
        tokio::select! {
            _ = futures::future::select_all(sources.iter().map(|source| source.changed())) => {}
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// One machine: work, and the end.
async fn live(
    forges: Forges,
    offer: Offer,
    idle: Idle,
    perform: impl Fn(Forges, MachineId, Work) -> BoxFuture<'static, ()>,
) {
    let id = offer.machine.clone();
    let work = loop {
        match forges.acquire(&offer).await {
            Ok(work) => break work,
            Err(fireactions_model::ForgeError::Unavailable { .. }) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                // The machine goes, and whatever was bound to it is lost with it.
                idle.lock().unwrap().remove(&id);
                if let Ok(Release::Bound(job)) = forges.release(&id).await {
                    let report = report(Outcome::Lost { reason: error.to_string() }, Vec::new());
                    forges.finished(&job, &id, &report).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
                return;
            }
        }
    };
    idle.lock().unwrap().remove(&id);
    perform(forges, id, work).await;
}

/// Does the work as a machine does.
pub(crate) async fn perform(forges: &Forges, id: &MachineId, work: &Work, dir: &Path) {
    let home = dir.join(id.as_str());
    std::fs::create_dir_all(&home).unwrap();
    let run = home.join("run.sh");
    std::fs::write(&run, runner::SCRIPT).unwrap();
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).unwrap();
    let Program::Command { argv } = &work.program else { panic!("{:?}", work.program) };
    let secret = work.secret_env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    let mut child = tokio::process::Command::new(dir.join("bin/sh"))
        .args(&argv[1..])
        .env_clear()
        .env("PATH", dir.join("bin"))
        .env("HOME", &home)
        .env("TMPDIR", &home)
        .envs(work.env.iter().cloned().chain(secret))
        .current_dir(&home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .process_group(0)
        .spawn()
        .unwrap();
    let _group = Group(child.id().unwrap());
    forges.started(&work.job, id).await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut offset = 0;
    let mut cancelled = false;
    let mut buffer = vec![0; 4096];
    loop {
        tokio::select! {
            count = stdout.read(&mut buffer) => {
                let count = count.unwrap();
                if count == 0 {
                    break;
                }
                let data = buffer[..count].to_vec();
                forges.output(&work.job, id, Output { offset, stream: Stream::Stdout, data }).await.unwrap();
                offset += u64::try_from(count).unwrap();
            }
            _ = forges.cancelled(&work.job), if !cancelled => {
                cancelled = true;
                drop(Group(child.id().unwrap()));
            }
        }
    }
    let status = child.wait().await.unwrap();
    let told = match status.code() {
        _ if cancelled => Outcome::Cancelled,
        Some(code) => Outcome::Exited { code },
        None => Outcome::Signalled { signal: 15 },
    };
    let mut notes = Vec::new();
    let outcome = forges.judge(&work.job, told, &mut notes).await.outcome;
    forges.finished(&work.job, id, &report(outcome, notes)).await.unwrap();
}

/// A machine's processes, which end with it.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_raw(i32::try_from(self.0).unwrap()).unwrap();
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

pub(crate) fn report(outcome: Outcome, notes: Vec<String>) -> Report {
    Report { outcome, usage: Usage::default(), phases: PhaseTimes::new(), notes, autopsy: None }
}
