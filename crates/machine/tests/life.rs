//! A machine's whole life for real: a microVM under emulation, a tap and rules in a network namespace of the test's
//! own, a job of the built-in queue, and nothing left.

// A failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fireactions_forge::local::{LocalConfig, LocalForge};
use fireactions_guest_proto::{ExecRequest, Exit};
use fireactions_image::{Images, ImagesConfig};
use fireactions_machine::{Machinery, Parts, Recovered, Settings};
use fireactions_model::{
    Event, FailureKind, Forge as _, ImageRef, JobId, JobRecord, JobSpec, JobState, Label, MachineId,
    MachineState, Machines, NewMachine, Offer, OnFailure, Phase, PoolName, PoolSpec, Shape,
};
use fireactions_net::{NetConfig, Network};
use fireactions_store::Store;
use fireactions_testkit::busybox;
use fireactions_vmm::accel::{Accel, Choice};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::broadcast;

fn pool() -> PoolSpec {
    PoolSpec {
        max_runners: 4,
        labels: [Label::new("x").unwrap()].into(),
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

struct World {
    dir: tempfile::TempDir,
    parts: Parts,
    machines: Machinery,
    forge: LocalForge,
    network: Network,
    store: Store,
}

impl World {
    async fn new() -> Self {
        Self::with(pool()).await
    }

    async fn with(pool: PoolSpec) -> Self {
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
            kernel: Some(kernel.join("vmlinuz")),
            modules: Some(modules),
            agent,
            uid_base: 1_900_000_000,
            dns: vec![],
            pools: BTreeMap::from([(pool.name.clone(), pool)]),
            console_max: 1 << 20,
            artifact_max: 1 << 30,
        };
        let parts = Parts {
            store: store.clone(),
            images,
            network: network.clone(),
            vmm: Arc::new(vmm),
            forge: Arc::new(forge.clone()),
            events,
            settings: Arc::new(settings),
        };
        let machines = Machinery::new(parts.clone());
        Self { dir, parts, machines, forge, network, store }
    }

    async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited for {what}: {:?}", self.machines.views());
    }

    /// Another server takes over; in between `away` happens.
    async fn replaced(&mut self, away: impl AsyncFnOnce(&Self)) -> Recovered {
        self.machines.settle().await;
        self.machines.detach().await;
        away(self).await;
        self.machines = Machinery::new(self.parts.clone());
        self.machines.recover().await.unwrap()
    }

    async fn output(&self, job: &JobId) -> String {
        let (log, _) = self.store.log(job).read(0).await.unwrap();
        String::from_utf8(log.iter().flat_map(|record| record.data.clone()).collect()).unwrap()
    }

    async fn job(&self, job: &JobId) -> JobRecord {
        self.forge.get(job).await.unwrap().unwrap()
    }

    async fn until_output(&self, job: &JobId, text: &str) {
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !self.output(job).await.contains(text) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited for {text:?}: {:?}", self.job(job).await);
    }

    fn state(&self, id: &MachineId) -> Option<MachineState> {
        self.machines.view(id).map(|view| view.state)
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

#[test]
fn a_running_job_goes_on_under_the_next_server() {
    in_namespace(|| async {
        let mut world = World::new().await;
        let text = "echo one; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo two; exit 7";
        let job = world.forge.submit(script(text), vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until_output(&job, "one").await;
        let pid = world.machines.view(&id).unwrap().pid;

        let recovered = world.replaced(async |_| {}).await;
        assert_eq!(
            (&recovered.adopted, &recovered.undone, &recovered.strays),
            (&vec![id.clone()], &vec![], &vec![])
        );
        assert_eq!(world.machines.view(&id).unwrap().pid, pid);
        world.until("the agent", |w| w.machines.link(&id).is_some()).await;
        assert!(world.machines.retire(&id, "a test").await.is_err(), "it has a job");
        let (link, _) = world.machines.link(&id).unwrap();
        link.put_file("/tmp/go", 0o644, 0, &b""[..]).await.unwrap();
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.job(&job).await;
        assert_eq!((job.state, job.exit_code(), job.attempt), (JobState::Failed, Some(7), 1), "{job:?}");
        assert_eq!(world.output(&job.id).await, "one\ntwo\n");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_job_that_ended_while_no_server_was_there_is_told_whole() {
    in_namespace(|| async {
        let mut world = World::new().await;
        let text = "echo one; sleep 2; echo two; seq 1 20000; exit 3";
        let job = world.forge.submit(script(text), vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until_output(&job, "one").await;
        let away = async |_: &World| tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(world.replaced(away).await.adopted, std::slice::from_ref(&id));
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let job = world.job(&job).await;
        assert_eq!((job.state, job.exit_code(), job.attempt), (JobState::Failed, Some(3), 1), "{job:?}");
        let whole: String = ["one".into(), "two".into()]
            .into_iter()
            .chain((1..=20_000).map(|n| n.to_string()))
            .map(|line: String| line + "\n")
            .collect();
        assert!(world.output(&job.id).await == whole, "the output is not whole, or not exactly once");
        let took = Duration::from_micros(job.phases[&Phase::Job]);
        assert!(
            took < Duration::from_secs(5),
            "the job's own time, not the time until somebody looked: {took:?}"
        );
        world.assert_nothing_left().await;
    });
}

#[test]
fn an_idle_machine_is_adopted_and_one_without_its_vmm_is_not() {
    in_namespace(|| async {
        let mut world = World::new().await;
        let (idle, dead) =
            (world.machines.create(new()).await.unwrap(), world.machines.create(new()).await.unwrap());
        for id in [&idle, &dead] {
            world.until("ready", |w| w.state(id) == Some(MachineState::Ready)).await;
        }
        let pid = world.machines.view(&dead).unwrap().pid.unwrap();
        let recovered = world
            .replaced(async |_| {
                nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
            })
            .await;
        assert_eq!((recovered.adopted, recovered.undone), (vec![idle.clone()], vec![dead]));
        let job = world.forge.submit(script("echo hello"), vec![]).await.unwrap().id;
        world.until("the machine's end", |w| w.machines.view(&idle).is_none()).await;
        assert_eq!(world.job(&job).await.state, JobState::Succeeded);
        world.assert_nothing_left().await;
    });
}

#[test]
fn the_machine_of_a_failed_job_is_held_over_a_restart_until_its_time_is_over() {
    in_namespace(|| async {
        let on_failure = OnFailure::Hold { for_: Duration::from_secs(12), max: 1 };
        let mut world = World::with(PoolSpec { on_failure, ..pool() }).await;
        let job = world.forge.submit(script("echo broken; exit 1"), vec![]).await.unwrap().id;
        let id = world.machines.create(new()).await.unwrap();
        world.until("held", |w| w.state(&id) == Some(MachineState::Held)).await;
        assert_eq!(world.job(&job).await.state, JobState::Failed, "the forge does not wait for that");
        // There is room for one.
        let other = world.forge.submit(script("exit 1"), vec![]).await.unwrap().id;
        let second = world.machines.create(new()).await.unwrap();
        world.until("the second's end", |w| w.machines.view(&second).is_none()).await;
        assert_eq!(world.job(&other).await.state, JobState::Failed);

        assert_eq!(world.replaced(async |_| {}).await.adopted, std::slice::from_ref(&id));
        let view = world.machines.view(&id).unwrap();
        assert_eq!((view.state, view.failure.unwrap().kind), (MachineState::Held, FailureKind::Job));
        let (link, _) = world.machines.link(&id).expect("it can be looked into");
        let request = ExecRequest {
            argv: vec!["true".into()],
            env: vec![],
            user: String::new(),
            workdir: String::new(),
            tty: None,
        };
        let mut exec = link.exec(request).await.unwrap();
        assert_eq!(exec.output.exit().await.unwrap(), Exit::Code(0));
        world.until("its time is over", |w| w.machines.view(&id).is_none()).await;
        world.assert_nothing_left().await;
    });
}

#[test]
fn work_that_was_bound_in_a_server_s_last_moment_is_not_forgotten() {
    in_namespace(|| async {
        let mut world = World::new().await;
        // The forge has bound a job, and the server is gone before the machine's row tells of it.
        let bind = async |world: &World, id: &MachineId| {
            let job = world.forge.submit(script("echo hello"), vec![]).await.unwrap().id;
            let offer = Offer { machine: id.clone(), pool: pool(), shape: pool().shape };
            assert_eq!(world.forge.acquire(&offer).await.unwrap().job, job);
            job
        };
        let ready = async |world: &World| {
            let id = world.machines.create(new()).await.unwrap();
            world.until("ready", |w| w.state(&id) == Some(MachineState::Ready)).await;
            id
        };
        let kill = |world: &World, id: &MachineId, signal: Signal| {
            let pid = world.machines.view(id).unwrap().pid.unwrap();
            nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
        };

        // The next server's pool wants the machine gone at once: it is not idle.
        let id = ready(&world).await;
        let mut job = None;
        world.replaced(async |world| job = Some(bind(world, &id).await)).await;
        assert!(world.machines.retire(&id, "a test").await.is_err(), "it has a job");
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        assert_eq!(world.job(&job.unwrap()).await.state, JobState::Succeeded);

        // Its VMM ends under the next server, before its agent has spoken.
        let id = ready(&world).await;
        let mut job = None;
        let away = async |world: &World| {
            kill(world, &id, Signal::SIGSTOP);
            job = Some(bind(world, &id).await);
        };
        assert_eq!(world.replaced(away).await.adopted, std::slice::from_ref(&id));
        kill(&world, &id, Signal::SIGKILL);
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        let told = world.job(&job.unwrap()).await;
        assert_eq!((told.state, told.attempt), (JobState::Queued, 1), "{told:?}");
        world.forge.cancel(&told.id).await.unwrap();

        // Its VMM ends before the next server.
        let id = ready(&world).await;
        let mut job = None;
        let away = async |world: &World| {
            job = Some(bind(world, &id).await);
            kill(world, &id, Signal::SIGKILL);
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        assert_eq!(world.replaced(away).await.undone, std::slice::from_ref(&id));
        let told = world.job(&job.unwrap()).await;
        assert_eq!((told.state, told.attempt), (JobState::Queued, 1), "{told:?}");
        assert!(told.autopsy.is_some(), "{told:?}");
        world.assert_nothing_left().await;
    });
}

#[test]
fn a_job_that_the_server_before_ended_is_told_as_what_it_was_ended_for() {
    in_namespace(|| async {
        let mut world = World::new().await;
        let run = async |world: &World, timeout: u64| {
            // In the server's place, the job's own signal ends it while nobody is there.
            let text = "echo one; sleep 2; kill -TERM $$";
            let spec = JobSpec { timeout_secs: Some(timeout), ..script(text) };
            let job = world.forge.submit(spec, vec![]).await.unwrap().id;
            let id = world.machines.create(new()).await.unwrap();
            world.until_output(&job, "one").await;
            (job, id)
        };
        let away = Duration::from_secs(5);

        let (job, id) = run(&world, 60).await;
        let cancel = async |world: &World| {
            world.forge.cancel(&job).await.unwrap();
            tokio::time::sleep(away).await;
        };
        world.replaced(cancel).await;
        world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
        assert_eq!(world.job(&job).await.state, JobState::Cancelled);

        for (timeout, state) in [(1, JobState::TimedOut), (60, JobState::Failed)] {
            let (job, id) = run(&world, timeout).await;
            world.replaced(async |_| tokio::time::sleep(away).await).await;
            world.until("the machine's end", |w| w.machines.view(&id).is_none()).await;
            assert_eq!(world.job(&job).await.state, state, "{:?}", world.job(&job).await);
        }
        world.assert_nothing_left().await;
    });
}
