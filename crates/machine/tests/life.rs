//! A machine's whole life for real: a microVM under emulation, a tap and rules in a network namespace of the test's
//! own, a job of the built-in queue, and nothing left.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_image::{Images, ImagesConfig};
use fireactions_machine::{Machinery, Parts, Settings};
use fireactions_model::{
    Deadlines, Event, ImageRef, InitMode, JobSpec, JobState, KernelSpec, Label, MachineState, Machines,
    NetworkPolicy, NewMachine, OnFailure, PoolName, PoolSpec, PullPolicy, Shape,
};
use fireactions_net::{NetConfig, Network};
use fireactions_store::Store;
use fireactions_testkit::busybox;
use fireactions_vmm::accel::{Accel, Choice};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use tokio::sync::broadcast;

fn pool() -> PoolSpec {
    PoolSpec {
        name: PoolName::new("p").unwrap(),
        min_runners: 0,
        max_runners: 4,
        labels: [Label::new("x").unwrap()].into(),
        shape: Shape {
            image: ImageRef::new(busybox::reference()).unwrap(),
            vcpus: 1,
            memory_mib: 256,
            disk_mib: 256,
        },
        pull: PullPolicy::IfNotPresent,
        kernel: KernelSpec::default(),
        init: InitMode::Agent,
        network: NetworkPolicy::default(),
        deadlines: Deadlines::default(),
        on_failure: OnFailure::default(),
        metadata: serde_json::Value::Null,
    }
}

struct World {
    dir: tempfile::TempDir,
    machines: Machinery,
    forge: LocalForge,
    network: Network,
    store: Store,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("fam-").tempdir().unwrap();
        let at = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let kernel = std::env::var_os("FIREACTIONS_KERNEL_DIR")
            .map_or_else(|| PathBuf::from("/var/cache/fireactions/kernel"), PathBuf::from);
        let modules = std::fs::read_dir(kernel.join("lib/modules")).unwrap().next().unwrap().unwrap().path();
        let agent = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../target/x86_64-unknown-linux-gnu/agent/fireactions-agent");
        assert!(agent.is_file(), "{} is not there: run `make agent`", agent.display());
        let (events, _) = broadcast::channel::<Event>(1024);
        let store = Store::open(dir.path().join("state")).unwrap();
        let images = Images::open(&at("images"), ImagesConfig::default()).unwrap();
        let network = Network::ensure(NetConfig::default()).await.unwrap();
        let forge = LocalForge::new(store.clone(), events.clone(), LocalConfig::default()).await.unwrap();
        let cgroup = format!("fam-{}", std::process::id());
        let vmm = Qemu::new(QemuConfig {
            cgroup_parent: Some(cgroup),
            ..QemuConfig::new(Choice { accel: Accel::Tcg, why: "a test".into() })
        });
        let settings = Settings {
            run_dir: at("run"),
            boot_dir: at("boot"),
            scratch_dir: at("scratch"),
            kernel: kernel.join("vmlinuz"),
            modules: Some(modules),
            agent,
            uid_base: 1_900_000_000,
            dns: vec![],
            pools: BTreeMap::from([(pool().name, pool())]),
            console_max: 1 << 20,
            artifact_max: 1 << 30,
        };
        let machines = Machinery::new(Parts {
            store: store.clone(),
            images,
            network: network.clone(),
            vmm: Arc::new(vmm),
            forge: Arc::new(forge.clone()),
            events,
            settings: Arc::new(settings),
        });
        Self { dir, machines, forge, network, store }
    }

    async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited for {what}: {:?}", self.machines.views());
    }

    async fn assert_nothing_left(&self) {
        assert_eq!(self.store.machines().await.unwrap(), []);
        assert_eq!(self.network.attached().await.unwrap(), []);
        assert_eq!(std::fs::read_dir(self.dir.path().join("run")).unwrap().count(), 0);
    }
}

fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let _ = tracing_subscriber::fmt().with_env_filter("debug").with_test_writer().try_init();
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .expect("a network namespace needs root: run `make test`");
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
}

fn new() -> NewMachine {
    NewMachine { pool: pool().name, shape: pool().shape }
}

fn script(text: &str) -> JobSpec {
    serde_json::from_value(serde_json::json!({"program": {"script": {"text": text}}})).unwrap()
}

#[test]
fn a_machine_runs_one_job_and_is_gone() {
    in_namespace(|| async {
        let world = World::new().await;
        let job = world.forge.submit(script("echo hello; exit 7"), vec![]).await.unwrap();
        let id = world.machines.create(new()).await.unwrap();
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.forge.get(&job.id).await.unwrap().unwrap();
        assert_eq!((job.state, job.exit_code()), (JobState::Failed, Some(7)), "{job:?}");
        let (log, _) = world.store.log(&job.id).read(0).await.unwrap();
        assert_eq!(log.iter().flat_map(|record| record.data.clone()).collect::<Vec<u8>>(), b"hello\n");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_ready_machine_retires_and_a_busy_one_does_not() {
    in_namespace(|| async {
        let world = World::new().await;
        let id = world.machines.create(new()).await.unwrap();
        world.until("ready", |w| w.machines.view(&id).is_some_and(|m| m.state == MachineState::Ready)).await;
        let job = world.forge.submit(script("read x < /dev/zero || sleep 2"), vec![]).await.unwrap();
        world.until("busy", |w| w.machines.view(&id).is_some_and(|m| m.state == MachineState::Busy)).await;
        assert!(world.machines.retire(&id, "a test").await.is_err());
        world.forge.cancel(&job.id).await.unwrap();
        world.until("the end", |w| w.machines.view(&id).is_none()).await;
        assert_eq!(world.forge.get(&job.id).await.unwrap().unwrap().state, JobState::Cancelled);

        let id = world.machines.create(new()).await.unwrap();
        world.until("ready", |w| w.machines.view(&id).is_some_and(|m| m.state == MachineState::Ready)).await;
        world.machines.retire(&id, "a test").await.unwrap();
        world.until("the end", |w| w.machines.view(&id).is_none()).await;
        world.assert_nothing_left().await;
    });
}
