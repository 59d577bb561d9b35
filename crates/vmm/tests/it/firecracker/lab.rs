//! The real programs, where the environment names them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::host::{Endpoint, JobEvent, Link};
use fireactions_guest_proto::{Exit, GuestState, Identity, RunRequest};
use fireactions_model::{GuestSetup, Hardware, InitMode, MachineId};
use fireactions_testkit::busybox;
use fireactions_testkit::skip::{self, Kind};
use fireactions_vmm::boot::{self, BootFiles};
use fireactions_vmm::firecracker::{Firecracker, FirecrackerConfig};
use fireactions_vmm::{AgentEndpoint, Drive, Nic, Ours, Start, Vm, VmSpec, Vmm};
use rustix::process::{Pid, Signal};
use tokio::time::timeout;

/// Machines of these tests run as this user and the following ones; nothing else on a host does.
pub(crate) const UID: u32 = 64_200;

/// Name of the tests' cgroups, apart from a server's.
pub(crate) static CGROUP: LazyLock<String> = LazyLock::new(|| fireactions_testkit::cgroups::parent("fc"));

/// A host whose KVM only interprets takes a quarter of a minute for one boot, and several times as long when it does more.
pub(crate) const BOOT: Duration = Duration::from_secs(240);

/// For everything a running guest does, there.
pub(crate) const SOON: Duration = Duration::from_secs(180);

pub(crate) const MEMORY_MIB: u32 = 128;

const SCRATCH_MIB: u32 = 64;

/// What the lab's kernel needs beside the driver's own arguments: `FIREACTIONS_LAB_KERNEL_ARGS`, or this, for the
/// kernel that boots where KVM interprets. With a serial port, so that a failure can be understood.
const KERNEL_ARGS: &str = "clearcpuid=cx16,popcnt,smap,invpcid,pcid,rdtscp,erms,fsrm,rdpid acpi=off noxsave no-kvmapf \
    no-steal-acc lpj=25000000 tsc=reliable 8250.nr_uarts=1";

/// The programs and what all machines of a test share.
pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) binary: PathBuf,
    pub(crate) jailer: Option<PathBuf>,
    boot: BootFiles,
    kernel_args: String,
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Whether everything that the test needs is named; else says what is not.
pub(crate) fn is_there(test: &str, jailed: bool) -> bool {
    let mut needed = vec!["FIREACTIONS_FIRECRACKER_BIN", "FIREACTIONS_LAB_KERNEL"];
    if jailed {
        needed.push("FIREACTIONS_JAILER_BIN");
    }
    let missing: Vec<&str> = needed.into_iter().filter(|name| named(name).is_none()).collect();
    if !missing.is_empty() {
        let what = "a guest under a real Firecracker";
        let kind = if missing == ["FIREACTIONS_LAB_KERNEL"] { Kind::Lab } else { Kind::Firecracker };
        skip::say(kind, test, &format!("{what}: not run, {} not set", missing.join(", ")));
    }
    missing.is_empty()
}

impl Lab {
    /// Only where [`is_there`] says so.
    pub(crate) async fn new(jailed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let agent = must(&mut Command::new(source.join("scripts/build-agent")));
        let kernel = named("FIREACTIONS_LAB_KERNEL").unwrap();
        let boot =
            boot::prepare(&dir.path().join("boot"), &kernel, None, Path::new(agent.trim())).await.unwrap();
        let root = dir.path().join("root.squashfs");
        // Not compressed: the kernel's zstd uses instructions that such a KVM does not know, and any other takes its time.
        let mut converter = Command::new("sqfstar")
            .args(["-quiet", "-no-progress", "-comp", "gzip", "-noI", "-noD", "-noF", "-noX"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sqfstar does not start; the package squashfs-tools has it");
        std::io::Write::write_all(&mut converter.stdin.take().unwrap(), &busybox::layer()).unwrap();
        assert!(converter.wait().unwrap().success());
        let scratch = dir.path().join("scratch.ext4");
        let size = format!("{SCRATCH_MIB}M");
        must(Command::new("mke2fs").args(["-q", "-t", "ext4", "-O", "^has_journal"]).arg(&scratch).arg(size));
        Self {
            dir,
            binary: named("FIREACTIONS_FIRECRACKER_BIN").unwrap(),
            jailer: jailed.then(|| named("FIREACTIONS_JAILER_BIN").unwrap()),
            boot,
            kernel_args: std::env::var("FIREACTIONS_LAB_KERNEL_ARGS").unwrap_or(KERNEL_ARGS.to_owned()),
        }
    }

    /// The driver whose machines are in the test's network namespace.
    pub(crate) async fn driver(&self) -> Firecracker {
        self.driver_with(None).await
    }

    /// The driver whose machines have network namespaces of their own.
    pub(crate) async fn apart(&self) -> Firecracker {
        self.driver_with(Some(Ours::new(|_| true))).await
    }

    async fn driver_with(&self, apart: Option<Ours>) -> Firecracker {
        let config = FirecrackerConfig {
            binary: self.binary.clone(),
            jailer: self.jailer.clone(),
            cgroup_parent: Some(CGROUP.clone()),
            apart,
        };
        Firecracker::new(config).await.unwrap()
    }

    /// A machine with a run directory, a user and a scratch disk of its own.
    pub(crate) fn spec(&self, index: u8, start: Start, nics: Vec<Nic>) -> VmSpec {
        let id = id();
        let run_dir = self.dir.path().join(id.as_str());
        std::fs::create_dir(&run_dir).unwrap();
        std::fs::set_permissions(&run_dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let scratch = run_dir.join("scratch.ext4");
        let template = self.dir.path().join("scratch.ext4");
        must(Command::new("cp").arg("--sparse=always").arg(template).arg(&scratch));
        let drive = |id: &str, path, read_only| Drive { id: id.to_owned(), path, read_only };
        let root = self.dir.path().join("root.squashfs");
        VmSpec {
            id,
            boot: self.boot.clone(),
            cmdline_extra: self.kernel_args.clone(),
            vcpus: 1,
            memory_mib: MEMORY_MIB,
            drives: vec![drive("root", root, true), drive("scratch", scratch, false)],
            nics,
            run_dir,
            uid: UID + u32::from(index),
            gid: UID + u32::from(index),
            console_max: 64 << 10,
            init: InitMode::Agent,
            start,
            guest: GuestSetup::default(),
            hardware: Hardware { console: true, ..Hardware::default() },
            metadata: None,
        }
    }
}

/// A failed test must not leave its machines behind; a passed one has none.
impl Drop for Lab {
    fn drop(&mut self) {
        let machines: Vec<String> = std::fs::read_dir(self.dir.path())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| MachineId::new(entry.file_name().to_str()?).ok())
            .map(|id| format!("--id\0{id}\0"))
            .collect();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments);
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid
                && machines.iter().any(|mark| arguments.contains(mark))
            {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// The link to the agent, at once: the guest may dial any moment.
pub(crate) fn link(vm: &Vm) -> Link {
    let AgentEndpoint::Listen { path, staging } = vm.agent() else { panic!("Firecracker dials") };
    Link::open(Endpoint::Listen { path, staging }, "mtest")
}

/// Waits until the agent has said that it waits for an identity.
pub(crate) async fn idle(vm: &Vm, link: &Link) {
    let hello = tokio::select! {
        hello = timeout(BOOT, link.hello()) => hello,
        reason = vm.exited() => panic!("{reason}; {reason:?}"),
    };
    let hello = hello.unwrap_or_else(|_| panic!("no hello; console:\n{}", console(vm))).unwrap();
    assert_eq!(hello.state, GuestState::Idle);
}

pub(crate) fn console(vm: &Vm) -> String {
    String::from_utf8_lossy(&std::fs::read(vm.console()).unwrap_or_default()).into_owned()
}

pub(crate) fn mac(index: u8) -> [u8; 6] {
    [2, 0xfa, 0, 0, 2, index]
}

pub(crate) fn nic(index: u8) -> Nic {
    Nic { tap: format!("fafc{index}"), mac: mac(index), bandwidth_mbit: Some(1000) }
}

/// What machine number `index` is told about itself. All get the same bytes of entropy but for the last.
pub(crate) fn identity(index: u8) -> Identity {
    let mut entropy = vec![7; 64];
    entropy[63] = index;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Identity {
        hostname: format!("clone{index}"),
        address: [10, 8, index, 2].into(),
        prefix: 30,
        gateway: [10, 8, index, 1].into(),
        dns: vec![[10, 8, index, 1].into()],
        machine_id: format!("{index:032x}"),
        entropy,
        unix_nanos: u64::try_from(now.as_nanos()).unwrap(),
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        services: Vec::new(),
        drop_ins: Vec::new(),
        sticky: Vec::new(),
        mtu: None,
        mac: Some(mac(index)),
        ipv6: None,
    }
}

/// Runs a shell script as the machine's job; its output.
pub(crate) async fn job(link: &Link, script: &str) -> String {
    let request = RunRequest {
        run: "j1".into(),
        argv: vec!["sh".into(), "-c".into(), script.into()],
        env: vec![],
        user: String::new(),
        owner_of: Vec::new(),
        workdir: String::new(),
    };
    timeout(SOON, link.run(request)).await.unwrap().unwrap();
    let mut text = Vec::new();
    loop {
        match timeout(SOON, link.next_output()).await.expect("the job is silent").unwrap() {
            JobEvent::Output { data, .. } => text.extend_from_slice(&data),
            JobEvent::Exited(result) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                assert_eq!(result.exit, Exit::Code(0), "{text}");
                return text;
            }
        }
    }
}

/// What the host says to whoever connects to port 8080.
pub(crate) const GREETING: &str = "hello over tcp";

/// Lets the host say it, on every machine's gateway.
pub(crate) async fn greet() {
    let server = tokio::net::TcpListener::bind("0.0.0.0:8080").await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let line = format!("{GREETING}\n");
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, line.as_bytes()).await;
        }
    });
}

/// Runs a test in a network namespace of its own, with `taps` taps of the machines' users, each with its machine's gateway.
pub(crate) fn in_namespace(taps: u8, test: impl AsyncFnOnce() + Send + 'static) {
    let run = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("root is needed for a network namespace");
        let ip = |args: String| must(Command::new("ip").args(args.split(' ')));
        for index in 0..taps {
            let user = UID + u32::from(index);
            ip(format!("tuntap add dev fafc{index} mode tap user {user} vnet_hdr"));
            ip(format!("addr add 10.8.{index}.1/30 dev fafc{index}"));
            ip(format!("link set fafc{index} up"));
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    };
    std::thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Ends the machine however the test went on, and sees that nothing is left.
pub(crate) async fn sweep(driver: &Firecracker, spec: &VmSpec, vm: &Vm) {
    driver.sweep(&spec.run_dir, &spec.id, Some(vm.process())).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(&spec.run_dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["scratch.ext4"], "what the driver did not make is all that is left");
    assert!(!driver.strays().await.unwrap().contains(&spec.id));
}

pub(crate) fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run 'make setup'"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn id() -> MachineId {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let mut random = [0; 8];
    random[..2].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes()[..2]);
    random[2..4].copy_from_slice(&std::process::id().to_le_bytes()[..2]);
    random[4..].copy_from_slice(&now.to_le_bytes());
    MachineId::from_random(random)
}
