//! The real QEMU driver and the real agent link with the stand-in.

use std::time::Duration;

use fireactions_guest_proto::host::{Endpoint, JobEvent, Link, LinkError};
use fireactions_guest_proto::{Exit, GuestState, Identity, RunRequest, Stream};
use fireactions_model::{GuestSetup, Hardware, InitMode, MachineId};
use fireactions_testkit::standin;
use fireactions_vmm::accel::{Accel, Choice};
use fireactions_vmm::boot::BootFiles;
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use fireactions_vmm::{AgentEndpoint, ExitCause, Start, Vm, VmSpec, Vmm, VmmError};
use tokio::time::timeout;

/// Nothing here takes longer than this, on however busy a host.
const SOON: Duration = Duration::from_secs(20);
/// Machines of these tests run as this user; nothing else on a host does.
const UID: u32 = 64_321;

struct Machine {
    vm: Vm,
    spec: VmSpec,
    _dir: tempfile::TempDir,
}

impl Machine {
    async fn start(faults: &str) -> Self {
        Self::try_start(faults).await.unwrap()
    }

    async fn try_start(faults: &str) -> Result<Self, VmmError> {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            std::fs::write(dir.path().join(name), name).unwrap();
            dir.path().join(name)
        };
        let run_dir = dir.path().join("run");
        std::fs::create_dir(&run_dir).unwrap();
        let spec = VmSpec {
            id: MachineId::from_random(
                dir.path().to_str().unwrap().as_bytes()[dir.path().as_os_str().len() - 8..]
                    .try_into()
                    .unwrap(),
            ),
            boot: BootFiles { kernel: file("kernel"), initrd: file("initrd"), modules: None },
            cmdline_extra: faults.to_owned(),
            vcpus: 1,
            memory_mib: 128,
            drives: Vec::new(),
            nics: Vec::new(),
            run_dir,
            uid: UID,
            gid: UID,
            console_max: 1 << 14,
            init: InitMode::Agent,
            start: Start::Boot,
            guest: GuestSetup::default(),
            hardware: Hardware::default(),
            metadata: None,
        };
        let choice = Choice { accel: Accel::Tcg, why: "a test".to_owned() };
        let driver = Qemu::new(QemuConfig {
            binary: standin::program(),
            cgroup_parent: None,
            ..QemuConfig::new(choice)
        });
        let vm = driver.spawn(&spec).await?;
        Ok(Self { vm, spec, _dir: dir })
    }

    fn link(&self) -> Link {
        let AgentEndpoint::Dial(path) = self.vm.agent() else { panic!("QEMU's agent is dialled") };
        Link::open(Endpoint::Dial(path), self.spec.id.to_string())
    }

    async fn configured(&self) -> Link {
        let link = self.link();
        let identity = Identity {
            hostname: self.spec.id.to_string(),
            address: [172, 30, 0, 2].into(),
            prefix: 22,
            gateway: [172, 30, 0, 1].into(),
            dns: Vec::new(),
            machine_id: "0".repeat(32),
            entropy: vec![0; 64],
            unix_nanos: 0,
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            services: Vec::new(),
            drop_ins: Vec::new(),
            sticky: Vec::new(),
            mtu: None,
            mac: None,
            ipv6: None,
        };
        timeout(SOON, link.configure(identity)).await.expect("configured in time").unwrap();
        link
    }
}

fn run(script: &str) -> RunRequest {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    RunRequest {
        run: "job".to_owned(),
        argv,
        env: Vec::new(),
        user: String::new(),
        owner_of: Vec::new(),
        workdir: String::new(),
    }
}

/// What the job says until it ends, and how it ends.
async fn heard(link: &Link) -> (String, String, Exit) {
    let (mut out, mut err) = (String::new(), String::new());
    loop {
        match timeout(SOON, link.next_output()).await.expect("something happens in time").unwrap() {
            JobEvent::Output { stream: Stream::Stdout, data, .. } => {
                out += std::str::from_utf8(&data).unwrap();
            }
            JobEvent::Output { data, .. } => err += std::str::from_utf8(&data).unwrap(),
            JobEvent::Exited(result) => return (out, err, result.exit),
        }
    }
}

#[tokio::test]
async fn a_job_is_played_and_the_machine_powered_off() {
    let machine = Machine::start("").await;
    let link = machine.configured().await;
    link.run(run("print one; print-err two; print-bytes 100000; print-lines 12; exit 3")).await.unwrap();
    let (out, err, exit) = heard(&link).await;
    assert!(out.starts_with("one\n") && out.len() == 100_004 + 12 * 64, "{} bytes", out.len());
    assert!(out.lines().last().unwrap().starts_with("line        12 ..."), "{}", &out[100_004..]);
    assert_eq!((err.as_str(), exit), ("two\n", Exit::Code(3)));
    link.power_off().await.unwrap();
    let reason = timeout(SOON, machine.vm.exited()).await.expect("it ends");
    assert_eq!((reason.cause, reason.shutdown.as_deref()), (ExitCause::Code(0), Some("guest-shutdown")));
    assert!(reason.console_tail.contains("is configured"), "{reason:?}");
}

#[tokio::test]
async fn a_job_goes_on_while_nobody_is_connected() {
    let machine = Machine::start("standin.boot=0.05").await;
    let link = machine.configured().await;
    link.run(run("print before; wait; print after; exit 4")).await.unwrap();
    link.close();
    drop(link);

    // The next server: the agent tells what it is doing.
    let link = machine.link();
    let hello = timeout(SOON, link.hello()).await.expect("it speaks again").unwrap();
    assert!(matches!(hello.state, GuestState::Running { .. }), "{hello:?}");
    let mut refused = run("exit 0");
    refused.run = "other".to_owned();
    assert!(matches!(link.run(refused).await, Err(LinkError::Guest(_))), "one job a machine");
    let exec = fireactions_guest_proto::ExecRequest {
        argv: vec!["tell".to_owned()],
        env: Vec::new(),
        user: String::new(),
        workdir: String::new(),
        tty: None,
    };
    let _told = link.exec(exec).await.unwrap();
    assert_eq!(heard(&link).await, ("before\nafter\n".to_owned(), String::new(), Exit::Code(4)));
    machine.vm.kill().await;
}

#[tokio::test]
async fn signals_and_panics_end_it() {
    let machine = Machine::start("").await;
    let link = machine.configured().await;
    link.run(run("stubborn; hang")).await.unwrap();
    link.signal(15).await.unwrap();
    assert!(timeout(Duration::from_millis(300), link.next_output()).await.is_err(), "SIGTERM is ignored");
    link.signal(9).await.unwrap();
    assert_eq!(heard(&link).await.2, Exit::Signal(9));
    machine.vm.kill().await;

    let machine = Machine::start("").await;
    let link = machine.configured().await;
    // It may be dead before it has said that it began.
    let _ = timeout(SOON, async {
        tokio::select! { _ = link.run(run("die")) => {}, _ = machine.vm.exited() => {} }
    })
    .await;
    let reason = timeout(SOON, machine.vm.exited()).await.expect("it ends");
    assert_eq!(reason.shutdown.as_deref(), Some("guest-reset"));
    assert!(reason.to_string().contains("Kernel panic"), "{reason}");

    let machine = match Machine::try_start("standin.silent standin.life=0.1").await {
        Ok(machine) => machine,
        // Its time came before the driver had heard that it runs.
        Err(VmmError::Died { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let link = machine.link();
    assert!(timeout(Duration::from_millis(50), link.hello()).await.is_err(), "it never speaks");
    timeout(SOON, machine.vm.exited()).await.expect("its time comes");
}
