//! Guests with the real agent and a BusyBox root: templates, their clones, and what is the same in all of them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fireactions_guest_proto::host::{Endpoint, JobEvent, Link};
use fireactions_guest_proto::{Exit, GuestState, Identity, RunRequest};
use fireactions_model::{GuestSetup, Hardware, InitMode, MachineId};
use fireactions_testkit::{busybox, no_timer};
use fireactions_vmm::boot::{self, BootFiles};
use fireactions_vmm::qemu::Qemu;
use fireactions_vmm::{AgentEndpoint, Drive, Nic, Start, Vm, VmSpec, Vmm};
use tokio::time::timeout;

use crate::qemu::guest;

/// A guest boots within seconds; ten at once on a busy host take a minute.
const BOOT: Duration = Duration::from_secs(240);

/// For everything a running guest does.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Enough for the agent and a shell; the smaller, the faster the tests.
pub(crate) const MEMORY_MIB: u32 = 128;

const SCRATCH_MIB: u32 = 64;

/// What all machines of a test share.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    boot: BootFiles,
    pub(crate) qemu: Arc<Qemu>,
    machines: Mutex<Vec<MachineId>>,
}

/// A failed test must not leave its machines behind; a passed one has none.
impl Drop for World {
    fn drop(&mut self) {
        guest::kill_all(&self.machines.lock().unwrap());
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let agent = must(&mut Command::new(source.join("scripts/build-agent")));
        let agent = PathBuf::from(agent.trim());
        let (kernel, modules) = guest::kernel();
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot");
        let boot = boot::prepare(&shared, &kernel, Some(&modules), &agent).await.unwrap();
        let root = dir.path().join("root.squashfs");
        let mut converter = Command::new("tar2sqfs")
            .args(["-q", "-f", "-c", "zstd"])
            .arg(&root)
            .stdin(Stdio::piped())
            .spawn()
            .expect("tar2sqfs does not start; 'make setup' installs it");
        std::io::Write::write_all(&mut converter.stdin.take().unwrap(), &busybox::layer()).unwrap();
        assert!(converter.wait().unwrap().success());
        let scratch = dir.path().join("scratch.ext4");
        let size = format!("{SCRATCH_MIB}M");
        must(Command::new("mke2fs").args(["-q", "-t", "ext4", "-O", "^has_journal"]).arg(&scratch).arg(size));
        Self { dir, boot, qemu: guest::qemu(), machines: Mutex::default() }
    }

    /// A machine with a run directory and a scratch disk of its own, and network cards on these taps.
    pub(crate) fn spec(&self, start: Start, nics: Vec<Nic>) -> VmSpec {
        let id = guest::id();
        self.machines.lock().unwrap().push(id.clone());
        let run_dir = self.dir.path().join(id.as_str());
        std::fs::create_dir(&run_dir).unwrap();
        std::fs::set_permissions(&run_dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        let scratch = self.dir.path().join(format!("{id}.ext4"));
        must(
            Command::new("cp").arg("--sparse=always").arg(self.dir.path().join("scratch.ext4")).arg(&scratch),
        );
        let drive = |id: &str, path, read_only| Drive { id: id.to_owned(), path, read_only };
        VmSpec {
            id,
            boot: self.boot.clone(),
            cmdline_extra: String::new(),
            vcpus: 1,
            memory_mib: MEMORY_MIB,
            drives: vec![
                drive("root", self.dir.path().join("root.squashfs"), true),
                drive("scratch", scratch, false),
            ],
            nics,
            run_dir,
            uid: guest::UID,
            gid: guest::UID,
            console_max: 64 << 10,
            init: InitMode::Agent,
            start,
            guest: GuestSetup::default(),
            hardware: Hardware::default(),
            metadata: None,
        }
    }

    /// An empty directory of a template to be.
    pub(crate) fn template_dir(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    /// Boots a machine to "waiting for its identity" and freezes it.
    pub(crate) async fn freeze(&self, name: &str, nics: Vec<Nic>) -> PathBuf {
        let dir = self.dir.path().join(name);
        let (spec, vm, link) = self.start(&Start::Template(dir.clone()), &nics).await;
        link.shut().await;
        vm.freeze(SOON).await.unwrap();
        let leftovers = std::fs::read_dir(&spec.run_dir).unwrap().count();
        self.qemu.sweep(&spec.run_dir, &spec.id, Some(vm.process())).await.unwrap();
        assert!(leftovers > 0 && std::fs::read_dir(&spec.run_dir).unwrap().count() == 0);
        dir
    }

    /// A machine whose agent waits for an identity; another one in its place where its guest found no timer.
    pub(crate) async fn start(&self, start: &Start, nics: &[Nic]) -> (VmSpec, Vm, Link) {
        let mut replaced = no_timer::Replaced::default();
        loop {
            if let Start::Template(dir) = start {
                std::fs::create_dir(dir).unwrap();
            }
            let spec = self.spec(start.clone(), nics.to_vec());
            let vm = self.qemu.spawn(&spec).await.unwrap();
            let AgentEndpoint::Dial(path) = vm.agent() else { panic!("QEMU is dialled") };
            let link = Link::open(Endpoint::Dial(path), "mtest");
            let met = async {
                tokio::select! {
                    hello = link.hello() => Ok(hello.unwrap()),
                    reason = vm.exited() => Err(reason.to_string()),
                }
            };
            match timeout(BOOT, met).await {
                Ok(Ok(hello)) => {
                    assert_eq!(hello.state, GuestState::Idle);
                    return (spec, vm, link);
                }
                Ok(Err(reason)) if replaced.gave_up(&reason) => {
                    link.shut().await;
                    self.qemu.sweep(&spec.run_dir, &spec.id, Some(vm.process())).await.unwrap();
                    if let Start::Template(dir) = start {
                        std::fs::remove_dir_all(dir).unwrap();
                    }
                }
                other => {
                    let console = std::fs::read_to_string(vm.console()).unwrap_or_default();
                    panic!("no hello: {other:?}; console:\n{console}")
                }
            }
        }
    }
}

/// What machine number `index` is told about itself. All get the same bytes of entropy but for the last.
pub(crate) fn identity(index: u8, mac: [u8; 6]) -> Identity {
    let mut entropy = vec![7; 64];
    entropy[63] = index;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Identity {
        hostname: format!("clone{index}"),
        address: [10, 9, index, 2].into(),
        prefix: 30,
        gateway: [10, 9, index, 1].into(),
        dns: vec![[10, 9, index, 1].into()],
        machine_id: format!("{index:032x}"),
        entropy,
        unix_nanos: u64::try_from(now.as_nanos()).unwrap(),
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        mtu: None,
        mac: Some(mac),
        ipv6: None,
        services: Vec::new(),
        drop_ins: Vec::new(),
        sticky: Vec::new(),
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

pub(crate) fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run 'make setup'"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
