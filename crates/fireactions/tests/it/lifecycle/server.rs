//! One server after the other on the same host: all parts real and put together as `fireactions server` does, in a
//! runtime of its own.
//!
//! A crash is played by ending that runtime at once: every task of the server's is dropped at its next await, wherever
//! it is, and nothing is told or undone. A real kill -9 differs in one thing: here a piece of work that is on a
//! blocking thread at that moment (a transaction of the store, a write to a log, a batch of nft) is still done to its
//! end, and so is what waits in the store's queue. That work torn in its middle is also undone is shown by the walk over the fail
//! points, which kills a real process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_image::Images;
use fireactions_machine::{Machinery, Parts, Settings};
use fireactions_model::{
    Deadlines, Drained, Event, ImageRef, KernelSpec, Label, OnFailure, PoolName, PoolOverride, PoolSpec,
    Shape, ShutdownMode,
};
use fireactions_net::{NetConfig, Network};
use fireactions_pool::{Budget, Controller, Ends, Overrides, PoolHandle, Timing};
use fireactions_store::{Store, StoreError};
use fireactions_testkit::{busybox, standin};
use fireactions_vmm::accel::{Accel, Choice};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::op::{Down, MAX_RUNNERS, POOLS};
use crate::lifecycle::play::LONGEST;
use crate::lifecycle::watch::Watch;

/// Anything that a server is asked must be answered within this.
const ANSWER: Duration = Duration::from_secs(60);
/// Virtual CPUs of the host; every machine has one, so it holds fewer than both pools want.
pub(crate) const VCPUS: u32 = 4;
/// Most machines that each pool holds at once.
pub(crate) const MOST_HELD: [usize; 2] = [0, 1];

/// What all servers of a host find.
pub(crate) struct Places {
    pub(crate) dir: PathBuf,
    pub(crate) cgroup: String,
    pub(crate) images: Images,
    /// Boot files and scratch templates, the same for all hosts.
    pub(crate) shared: PathBuf,
}

/// The pools, by [`POOLS`]' numbers: one whose failed machines go, and one that keeps one of them for a while.
fn pool(number: usize) -> PoolSpec {
    let holds = number == 1;
    PoolSpec {
        min_runners: u32::from(!holds),
        max_runners: MAX_RUNNERS[number],
        labels: [Label::new(POOLS[number]).unwrap()].into(),
        kernel: KernelSpec {
            args: if holds { "standin.boot=0.15".to_owned() } else { String::new() },
            ..KernelSpec::default()
        },
        deadlines: Deadlines {
            boot: Duration::from_secs(10),
            agent: Duration::from_secs(10),
            online: Duration::from_secs(10),
            idle: if holds { Duration::from_millis(1500) } else { Duration::ZERO },
            job: LONGEST,
            shutdown: Duration::from_secs(1),
            ..Deadlines::default()
        },
        on_failure: if holds {
            OnFailure::Hold { for_: Duration::from_secs(2), max: 1 }
        } else {
            OnFailure::Destroy
        },
        ..PoolSpec::new(
            PoolName::new(POOLS[number]).unwrap(),
            Shape {
                image: ImageRef::new(busybox::reference()).unwrap(),
                vcpus: 1,
                memory_mib: 128,
                disk_mib: 64,
            },
        )
    }
}

/// A running server.
pub(crate) struct Server {
    runtime: Runtime,
    pub(crate) store: Store,
    pub(crate) forge: LocalForge,
    pub(crate) machines: Machinery,
    pub(crate) network: Network,
    pub(crate) pools: PoolHandle,
    stopping: CancellationToken,
    controlling: JoinHandle<()>,
    network_done: CancellationToken,
    rules: JoinHandle<()>,
}

impl Server {
    /// Starts a server on what is there. To be called in the host's network namespace.
    pub(crate) fn start(places: &Places, watch: &Arc<Watch>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = runtime.block_on(async {
            tokio::time::timeout(ANSWER, start(places, watch)).await.expect("the server starts in a minute")
        });
        let (parts, machines, forge, controller) = started;
        let stopping = CancellationToken::new();
        let pools = controller.handle();
        let ends = Ends { stop: stopping.clone(), freeze: CancellationToken::new() };
        let controlling = runtime.spawn(controller.run(ends));
        // Rules are kept until the last machine is gone, so not only until `stopping`.
        let network_done = CancellationToken::new();
        let rules = runtime.spawn(keep_rules(parts.network.clone(), network_done.clone()));
        runtime.spawn(Arc::clone(watch).look(machines.clone()));
        let Parts { store, network, .. } = parts;
        Self { runtime, store, forge, machines, network, pools, stopping, controlling, network_done, rules }
    }

    /// Asks the server something.
    pub(crate) fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        let answer = async { tokio::time::timeout(ANSWER, question).await };
        self.runtime.block_on(answer).expect("an answer within a minute")
    }

    /// Ends the server. Returns when its state can be opened again.
    pub(crate) fn stop(self, how: Down) {
        match how {
            Down::Crash => {}
            Down::Detach => self.ask(async {
                self.machines.settle().await;
                self.machines.detach().await;
                self.stopping.cancel();
            }),
            Down::Leave | Down::Kill => {
                let mode = if how == Down::Leave { ShutdownMode::Leave } else { ShutdownMode::Kill };
                self.end(mode);
            }
        }
        let Self { runtime, store, .. } = self;
        if how == Down::Crash {
            drop(store);
        } else {
            runtime.block_on(store.close());
        }
        runtime.shutdown_timeout(ANSWER);
    }

    /// As SIGTERM does it. Returns how many machines are left.
    pub(crate) fn end(&self, mode: ShutdownMode) -> usize {
        self.stopping.cancel();
        self.ask(async {
            let go = self.machines.shutdown(mode, Duration::from_secs(30));
            let (left, ()) = tokio::join!(go, ended(&self.controlling));
            self.network_done.cancel();
            ended(&self.rules).await;
            if left == 0 {
                self.network.remove().await.expect("the network is removed");
            }
            left
        })
    }
}

/// Waits for a task that others may wait for as well.
async fn ended(task: &JoinHandle<()>) {
    while !task.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn start(places: &Places, watch: &Arc<Watch>) -> (Parts, Machinery, LocalForge, Controller) {
    let at = |name: &str| {
        let path = places.dir.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let (events, _) = broadcast::channel::<Event>(65_536);
    tokio::spawn(Arc::clone(watch).listen(events.subscribe()));
    let store = open(&places.dir.join("state")).await;
    let network = Network::ensure(NetConfig::default()).await.expect("the network is made");
    let forge = LocalForge::new(store.clone(), events.clone(), LocalConfig::default()).await.unwrap();
    let vmm = Qemu::new(QemuConfig {
        binary: standin::program(),
        cgroup_parent: Some(places.cgroup.clone()),
        ..QemuConfig::new(Choice { accel: Accel::Tcg, why: "a test".into() })
    });
    let (kernel, modules, agent) = boot_parts();
    let specs: Vec<PoolSpec> = (0..POOLS.len()).map(pool).collect();
    let parts = Parts {
        store: store.clone(),
        images: places.images.clone(),
        network,
        volumes: None,
        vmm: Arc::new(vmm),
        forge: Arc::new(forge.clone()),
        events,
        settings: Arc::new(Settings {
            run_dir: at("run"),
            boot_dir: places.shared.join("boot"),
            scratch_dir: places.shared.join("scratch"),
            kernel: Some(kernel),
            modules: Some(modules),
            agent,
            uid_base: 1_900_000_000,
            dns: vec![],
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            drop_ins: watch::channel(Vec::new()).1,
            environment: Vec::new(),
            pools: specs.iter().map(|spec| (spec.name.clone(), spec.clone().into())).collect(),
            console_max: 1 << 20,
            artifact_max: 1 << 20,
        }),
    };
    let machines = Machinery::new(parts.clone());
    let recovered = machines.recover().await.expect("what an earlier server left is sorted out");
    watch.recovered(&recovered);
    forge.recover().await.unwrap();
    let saved = store.pools().await.unwrap().into_iter();
    let saved: BTreeMap<PoolName, PoolOverride> =
        saved.map(|row| (row.name, PoolOverride { paused: row.paused, scale: row.scale })).collect();
    let drained = store.drained().await.unwrap();
    let budget = Budget { vcpus: VCPUS, memory_mib: 0, machine_overhead_mib: 0 };
    let controller =
        Controller::new(vec![Arc::new(forge.clone())], Arc::new(machines.clone()), specs, budget)
            .with_overrides(&saved, Arc::new(Kept(store)))
            .with_drained(drained)
            .with_timing(Timing { surplus_after: Duration::from_secs(1), ..Timing::default() });
    (parts, machines, forge, controller)
}

/// Opens the state, as soon as the server before has let go of it.
async fn open(dir: &Path) -> Store {
    let asked = Instant::now();
    loop {
        match Store::open(dir) {
            Err(StoreError::Locked { .. }) if asked.elapsed() < Duration::from_secs(20) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other => return other.expect("the state can be opened"),
        }
    }
}

/// As the server's housekeeping does, only more often.
async fn keep_rules(network: Network, stopping: CancellationToken) {
    while stopping.run_until_cancelled(tokio::time::sleep(Duration::from_millis(300))).await.is_some() {
        let _ = network.repair().await;
    }
}

/// The store as the pools' memory, as in the server.
struct Kept(Store);

#[async_trait]
impl Overrides for Kept {
    async fn save(&self, pool: &PoolName, changed: &PoolOverride) -> Result<(), String> {
        self.0.set_pool(pool, changed.paused, changed.scale).await.map_err(|e| e.to_string())
    }

    async fn save_drain(&self, why: Option<&str>) -> Result<Option<Drained>, String> {
        self.0.set_drained(why).await.map_err(|e| e.to_string())?;
        self.0.drained().await.map_err(|e| e.to_string())
    }
}

/// Kernel, modules and agent: the stand-in boots none of them, but boot files are made of them.
fn boot_parts() -> (PathBuf, PathBuf, PathBuf) {
    let dir = std::env::var_os("FIREACTIONS_KERNEL_DIR")
        .map_or_else(|| PathBuf::from("/var/cache/fireactions/kernel"), PathBuf::from);
    let kernel = dir.join("vmlinuz");
    assert!(kernel.is_file(), "{} is not there: run `make setup`", kernel.display());
    let modules = std::fs::read_dir(dir.join("lib/modules")).unwrap().next().unwrap().unwrap().path();
    let agent = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/x86_64-unknown-linux-gnu/agent/fireactions-agent");
    assert!(agent.is_file(), "{} is not there: run `make agent`", agent.display());
    (kernel, modules, agent)
}
