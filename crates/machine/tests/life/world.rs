//! A server's parts without the server: the machines, what they are made with, and the built-in queue.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_guest_proto::host::{Endpoint, Link};
use fireactions_guest_proto::{ExecRequest, GuestState};
use fireactions_image::{Images, ImagesConfig};
use fireactions_machine::{Machinery, Parts, Recovered, Settings};
use fireactions_model::{
    Event, Forge, ImageRef, JobId, JobRecord, JobSpec, JobState, Label, MachineId, MachineState, MachineView,
    Machines, NewMachine, Offer, OnFailure, PoolName, PoolSpec, Shape, StartMode,
};
use fireactions_net::{NetConfig, Network};
use fireactions_store::Store;
use fireactions_testkit::{busybox, cgroups, guest, no_timer, standin};
use fireactions_vmm::accel::{Accel, Choice};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use fireactions_volumes::Volumes;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::{broadcast, watch};

use crate::odd_forge::{OddForge, Oddities};
use crate::odd_vmm::OddVmm;

/// For whatever a machine does, on a busy host.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

pub(crate) fn pool() -> PoolSpec {
    PoolSpec {
        max_runners: 4,
        labels: [Label::new("x").unwrap()].into(),
        // A template that is made beside would be in the way of the tests that look for what is left.
        start: StartMode::Boot,
        ..PoolSpec::new(
            PoolName::new("p").unwrap(),
            Shape {
                image: ImageRef::new(busybox::reference()).unwrap(),
                vcpus: 1,
                memory_mib: 256,
                disk_mib: 256,
            },
        )
    }
}

/// The same, that keeps a machine that failed for an hour.
pub(crate) fn holding() -> PoolSpec {
    PoolSpec { on_failure: OnFailure::Hold { for_: Duration::from_secs(3600), max: 1 }, ..pool() }
}

/// One server's parts, in the network namespace of the calling thread.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) parts: Parts,
    pub(crate) machines: Machinery,
    pub(crate) forge: LocalForge,
    /// What its forge does beside.
    pub(crate) odd: Arc<Oddities>,
    /// No process can be ended any more, as where a disk hangs.
    pub(crate) resists: Arc<AtomicBool>,
    network: Network,
    store: Store,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(pool()).await
    }

    pub(crate) async fn with(pool: PoolSpec) -> Self {
        Self::on(pool, None).await
    }

    /// With played guests, for what no real one does.
    pub(crate) async fn played() -> Self {
        Self::played_with(pool()).await
    }

    /// The same with this pool.
    pub(crate) async fn played_with(pool: PoolSpec) -> Self {
        Self::on(pool, Some(standin::program())).await
    }

    async fn on(pool: PoolSpec, qemu: Option<PathBuf>) -> Self {
        let dir = tempfile::Builder::new().prefix("fam-").tempdir().unwrap();
        let at = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let (events, _) = broadcast::channel::<Event>(1024);
        let store = Store::open(dir.path().join("state")).unwrap();
        let images = Images::open(&at("images"), ImagesConfig::default()).unwrap();
        let network = Network::ensure(NetConfig::default()).await.unwrap();
        let forge = LocalForge::new(store.clone(), events.clone(), LocalConfig::default()).await.unwrap();
        let cgroup = cgroups::parent("life");
        let real = QemuConfig::new(Choice { accel: Accel::Tcg, why: "a test".into() });
        let binary = qemu.unwrap_or_else(|| real.binary.clone());
        let vmm = Qemu::new(QemuConfig { binary, cgroup_parent: Some(cgroup), ..real });
        let kernel = guest::kernel();
        let settings = Settings {
            run_dir: at("run"),
            boot_dir: at("boot"),
            scratch_dir: at("scratch"),
            kernel: Some(kernel.image),
            modules: Some(kernel.modules),
            agent: guest::agent(),
            uid_base: 1_900_000_000,
            dns: vec![],
            dns_search: vec![],
            dns_options: vec![],
            drop_ins: watch::channel(vec![]).1,
            environment: vec![("PROXIED".to_owned(), "by the host".to_owned())],
            pools: BTreeMap::from([(pool.name.clone(), pool.into())]),
            console_max: 1 << 20,
            artifact_max: 1 << 30,
        };
        let odd = Arc::new(Oddities::default());
        let resists = Arc::new(AtomicBool::new(false));
        // Nothing of the host's disk is kept free in a test.
        let limits = fireactions_volumes::Limits { free: 0, ..fireactions_volumes::Limits::default() };
        let parts = Parts {
            store: store.clone(),
            images,
            network: network.clone(),
            volumes: Some(Volumes::open(&dir.path().join("sticky"), limits).unwrap()),
            vmm: Arc::new(OddVmm { vmm: Arc::new(vmm), resists: Arc::clone(&resists) }),
            forge: Arc::new(OddForge { queue: forge.clone(), odd: Arc::clone(&odd) }),
            events,
            settings: Arc::new(settings),
        };
        let machines = Machinery::new(parts.clone());
        Self { dir, parts, machines, forge, odd, resists, network, store }
    }

    /// A job with this script that the forge has bound to the machine, of which no row of the machine tells yet.
    pub(crate) async fn bind(&self, machine: &MachineId, text: &str) -> JobId {
        let job = self.forge.submit(script(text), vec![]).await.unwrap().id;
        let offer = Offer { machine: machine.clone(), pool: pool().into(), shape: pool().shape };
        assert_eq!(self.forge.acquire(&offer).await.unwrap().job, job);
        job
    }

    /// A machine whose guest has booted, as it was then: ready, or with work already. As a pool does, another one is made in the
    /// place of one whose guest found no timer.
    pub(crate) async fn machine(&self) -> MachineView {
        let mut replaced = no_timer::Replaced::default();
        loop {
            let mut events = self.parts.events.subscribe();
            let id = self.machines.create(new()).await.unwrap();
            let booted = async {
                let mut failed = None;
                loop {
                    match events.recv().await.unwrap() {
                        Event::Machine { machine } if machine.id == id => {
                            if let Some(failure) = &machine.failure {
                                failed = Some(failure.message.clone());
                            } else if matches!(machine.state, MachineState::Ready | MachineState::Busy) {
                                return Ok(MachineView::clone(&machine));
                            }
                        }
                        Event::MachineGone { id: gone, .. } if gone == id => return Err(failed),
                        _ => {}
                    }
                }
            };
            match tokio::time::timeout(DEADLINE, booted).await.expect("the machine boots") {
                Ok(machine) => return machine,
                Err(Some(why)) if replaced.gave_up(&why) => {}
                Err(why) => panic!("{id} is gone: {why:?}"),
            }
        }
    }

    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited for {what}: {:?}", self.machines.views());
    }

    /// Another server takes over; in between `away` happens.
    pub(crate) async fn replaced(&mut self, away: impl AsyncFnOnce(&Self)) -> Recovered {
        self.machines.settle().await;
        self.machines.detach().await;
        away(self).await;
        self.machines = Machinery::new(self.parts.clone());
        self.machines.recover().await.unwrap()
    }

    /// Another connection to the database, as a person with `sqlite3` has it.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join("state/state.db")).unwrap()
    }

    /// Every row has its machine, and every machine its row.
    pub(crate) async fn machines_with_rows(&self) -> Vec<MachineId> {
        let rows: Vec<MachineId> =
            self.store.machines().await.unwrap().into_iter().map(|row| row.id).collect();
        let views: Vec<MachineId> = self.machines.views().into_iter().map(|view| view.id.clone()).collect();
        assert_eq!(rows, views);
        rows
    }

    pub(crate) async fn output(&self, job: &JobId) -> String {
        let (log, _) = self.store.log(job).read(0).await.unwrap();
        String::from_utf8(log.iter().flat_map(|record| record.data.clone()).collect()).unwrap()
    }

    pub(crate) async fn job(&self, job: &JobId) -> JobRecord {
        self.forge.get(job).await.unwrap().unwrap()
    }

    pub(crate) async fn until_output(&self, job: &JobId, text: &str) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while !self.output(job).await.contains(text) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited for {text:?}: {:?}", self.job(job).await);
    }

    pub(crate) async fn until_job(&self, job: &JobId, state: JobState) {
        let waited = tokio::time::timeout(DEADLINE, async {
            while self.job(job).await.state != state {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited for {state}: {:?}", self.job(job).await);
    }

    /// Returns when the journal has how the machine's program ended.
    pub(crate) async fn until_end_is_journaled(&self, id: &MachineId) {
        let known = async {
            loop {
                let journal = self.parts.store.journal_of(id).await.unwrap();
                if journal.last().is_some_and(|entry| entry.detail.get("report").is_some()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, known).await.expect("the program's end is journaled");
    }

    /// Lets a played job go on that waits to be told.
    pub(crate) async fn tell(link: &Link) {
        let mut exec = link.exec(program("tell")).await.unwrap();
        exec.output.exit().await.unwrap();
    }

    /// Sends a signal to a machine's VMM.
    pub(crate) fn signal(&self, id: &MachineId, signal: Signal) {
        Self::signal_to(self.machines.view(id).unwrap().pid.unwrap(), signal);
    }

    pub(crate) fn signal_to(pid: u32, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
    }

    /// While no server is there: lets the guest's job go on from where it waits for `/tmp/go`, and waits for its end. Looks as a
    /// server does, and takes nothing.
    pub(crate) async fn end_job(&self, id: &MachineId) {
        let socket = self.parts.settings.run_dir.join(id.as_str()).join("agent.sock");
        let looks = async {
            // The server before may have ended it all.
            while socket.exists() {
                let link = Link::open(Endpoint::Dial(socket.clone()), id.as_str());
                let hello = tokio::time::timeout(Duration::from_secs(10), link.hello()).await;
                let state = hello.map(|hello| hello.unwrap().state);
                if let Ok(GuestState::Running { .. }) = state {
                    link.put_file("/tmp/go", 0o644, 0, &b""[..]).await.unwrap();
                }
                link.shut().await;
                if let Ok(GuestState::Exited { .. }) = state {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, looks).await.expect("the job ends");
    }

    /// Kills a machine's VMM while no server is there, and waits for its end.
    pub(crate) async fn kill(pid: u32) {
        Self::signal_to(pid, Signal::SIGKILL);
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let gone = async {
            // Nobody may be there to reap it.
            while stat().rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, gone).await.expect("a killed process ends");
    }

    pub(crate) fn state(&self, id: &MachineId) -> Option<MachineState> {
        self.machines.view(id).map(|view| view.state)
    }

    pub(crate) async fn assert_nothing_left(&self) {
        assert_eq!(self.store.machines().await.unwrap(), []);
        assert_eq!(self.network.attached().await.unwrap(), []);
        assert_eq!(std::fs::read_dir(self.dir.path().join("run")).unwrap().count(), 0);
    }
}

pub(crate) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let _ = tracing_subscriber::fmt().with_env_filter("debug").with_test_writer().try_init();
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .expect("a network namespace needs root: run `make test`");
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
}

pub(crate) fn new() -> NewMachine {
    NewMachine { pool: pool().name, shape: pool().shape }
}

/// Something to be run beside a job.
pub(crate) fn program(name: &str) -> ExecRequest {
    ExecRequest {
        argv: vec![name.into()],
        env: vec![],
        user: String::new(),
        workdir: String::new(),
        tty: None,
    }
}

pub(crate) fn script(text: &str) -> JobSpec {
    serde_json::from_value(serde_json::json!({"program": {"script": {"text": text}}})).unwrap()
}
