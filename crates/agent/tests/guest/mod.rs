//! A real guest: Debian's kernel and the real initramfs under QEMU's emulator, with a BusyBox root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use fireactions_guest_proto::host::{Endpoint, Exec, JobEvent, Link, LinkOptions};
use fireactions_guest_proto::{
    DropIn, ExecRequest, Exit, Form, Identity, JobResult, Meets, RunRequest, Stream, WinSize,
};
use fireactions_testkit::no_timer;
use fireactions_vmm::boot::{self, BootFiles};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// A boot takes two seconds here; a busy machine may need ten times as long.
pub(crate) const BOOT: Duration = Duration::from_secs(240);

/// For everything a running guest does.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// What all guests of a test run share.
struct Parts {
    dir: TempDir,
    boot: BootFiles,
}

static PARTS: OnceCell<Parts> = OnceCell::const_new();

/// A running guest. Dropping it kills QEMU.
pub(crate) struct Guest {
    qemu: Child,
    dir: TempDir,
    pub(crate) link: Link,
}

/// How a guest differs from the usual one.
pub(crate) struct Setup {
    /// `agent` or `image`.
    pub(crate) init: &'static str,
    /// With a root disk.
    pub(crate) root: bool,
    /// MiB.
    pub(crate) memory: u32,
    /// More for the kernel's command line of the first guest, not of one that takes its place.
    pub(crate) first: &'static str,
    /// See `LinkOptions`.
    pub(crate) silence: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self { init: "agent", root: true, memory: 192, first: "", silence: LinkOptions::default().silence }
    }
}

impl Guest {
    /// Starts QEMU, with `append` on the kernel's command line; does not wait for the guest.
    pub(crate) async fn start(setup: &Setup, append: &str) -> Self {
        let parts = PARTS.get_or_init(prepare).await;
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let mut line = format!(
            "console=ttyS0 reboot=t panic=-1 quiet mitigations=off cryptomgr.notests fireactions.init={} fireactions.root=/dev/vda \
             fireactions.scratch=/dev/vdb fireactions.work=.cache/act fireactions.port=org.fireactions.agent.0 {}",
            setup.init, append
        );
        if let Some(khz) = tsc_khz() {
            let _ = write!(line, " tsc_early_khz={khz} tsc=reliable");
        }
        let scratch = path("scratch.ext4");
        must(Command::new("mke2fs").args(["-q", "-t", "ext4", "-O", "^has_journal", &scratch, "256M"]));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-M",
            "microvm,pic=off",
            "-accel",
            "tcg,tb-size=64",
            "-cpu",
            "max",
            "-smp",
            "1,maxcpus=2",
            "-m",
        ])
        .arg(setup.memory.to_string())
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .arg("-kernel")
        .arg(&parts.boot.kernel)
        .arg("-initrd")
        .arg(&parts.boot.initrd)
        .args(["-append", &line])
        .args(["-serial", &format!("file:{}", path("console"))])
        .args(["-chardev", &format!("socket,id=agent,path={},server=on,wait=off", path("agent.sock"))])
        .args(["-device", "virtio-serial-device"])
        .args(["-device", "virtserialport,chardev=agent,name=org.fireactions.agent.0"])
        .args(["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-device,netdev=net"]);
        if setup.root {
            let root = parts.dir.path().join("root.squashfs");
            qemu.args(["-drive", &format!("id=root,file={},format=raw,if=none,readonly=on", root.display())])
                .args(["-device", "virtio-blk-device,drive=root"])
                .args(["-drive", &format!("id=scratch,file={scratch},format=raw,if=none,cache=unsafe")])
                .args(["-device", "virtio-blk-device,drive=scratch"]);
        }
        let qemu = qemu
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu-system-x86_64 does not start; 'make setup' installs it");
        let options = LinkOptions { silence: setup.silence, ..LinkOptions::default() };
        let link = Link::open_with(Endpoint::Dial(path("agent.sock").into()), "mtest", options);
        Self { qemu, dir, link }
    }

    /// Starts a guest and configures it; another one in its place where it found no timer.
    pub(crate) async fn boot(setup: Setup) -> Self {
        let mut append = setup.first;
        let mut replaced = no_timer::Replaced::default();
        loop {
            let mut guest = Self::start(&setup, append).await;
            let Self { qemu, link, .. } = &mut guest;
            let met = async {
                tokio::select! {
                    hello = link.hello() => Some(hello),
                    () = gone(qemu) => None,
                }
            };
            let met = timeout(BOOT, met).await;
            match met {
                Ok(Some(Ok(_))) => {
                    timeout(SOON, guest.link.configure(identity())).await.unwrap().unwrap();
                    return guest;
                }
                Ok(None) if replaced.gave_up(&guest.console()) => append = "",
                other => panic!("no hello: {other:?}; console:\n{}", guest.console()),
            }
        }
    }

    /// Starts a guest that cannot boot for another reason than that it found no timer; what its console says.
    pub(crate) async fn fail(setup: Setup) -> String {
        let mut replaced = no_timer::Replaced::default();
        loop {
            let mut guest = Self::start(&setup, setup.first).await;
            assert!(timeout(BOOT, guest.ended()).await.unwrap(), "{}", guest.console());
            if !replaced.gave_up(&guest.console()) {
                return guest.console();
            }
        }
    }

    pub(crate) fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("console")).unwrap_or_default())
            .into_owned()
    }

    /// Waits for the end of QEMU.
    pub(crate) async fn ended(&mut self) -> bool {
        timeout(SOON, gone(&mut self.qemu)).await.is_ok()
    }

    /// Powers off as the host does and sees QEMU end.
    pub(crate) async fn power_off(mut self) {
        timeout(SOON, self.link.power_off()).await.unwrap().unwrap();
        assert!(self.ended().await, "QEMU still runs after power-off; console:\n{}", self.console());
    }

    /// Runs the job to its end.
    pub(crate) async fn job(&self, request: RunRequest) -> (String, String, JobResult) {
        timeout(SOON, self.link.run(request)).await.unwrap().unwrap();
        self.job_end().await
    }

    /// The job's remaining output and its end.
    pub(crate) async fn job_end(&self) -> (String, String, JobResult) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let event = timeout(SOON, self.link.next_output()).await;
            match event.unwrap_or_else(|_| panic!("the job is silent; console:\n{}", self.console())).unwrap()
            {
                JobEvent::Output { stream: Stream::Stdout, data, .. } => stdout.extend_from_slice(&data),
                JobEvent::Output { stream: Stream::Stderr, data, .. } => stderr.extend_from_slice(&data),
                JobEvent::Exited(result) => {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    return (text(&stdout), text(&stderr), result);
                }
            }
        }
    }

    /// Runs a shell command beside the job; both outputs together.
    pub(crate) async fn exec(&self, user: &str, command: &str) -> (String, Exit) {
        let request = ExecRequest {
            argv: vec!["sh".into(), "-c".into(), command.into()],
            env: vec![],
            user: user.into(),
            workdir: String::new(),
            tty: None,
        };
        let Exec { stdin, output, control: _control } =
            timeout(SOON, self.link.exec(request)).await.unwrap().unwrap();
        drop(stdin);
        collect(output).await
    }
}

/// Returns when QEMU has ended.
async fn gone(qemu: &mut Child) {
    while qemu.try_wait().unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All output of an exec, and its end.
pub(crate) async fn collect(mut output: fireactions_guest_proto::host::ExecOutput) -> (String, Exit) {
    let mut text = Vec::new();
    while let Some((_, data)) = timeout(SOON, output.next()).await.expect("the exec is silent") {
        text.extend_from_slice(&data);
    }
    let exit = timeout(SOON, output.exit()).await.unwrap().unwrap();
    (String::from_utf8_lossy(&text).into_owned(), exit)
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// A job of `sh -c`.
pub(crate) fn script(text: &str) -> RunRequest {
    RunRequest {
        run: "j1".into(),
        argv: vec!["sh".into(), "-c".into(), text.into()],
        env: vec![("GREETING".into(), "hello".into())],
        user: String::new(),
        owner_of: Vec::new(),
        workdir: String::new(),
    }
}

/// An exec with a terminal.
pub(crate) fn on_terminal(argv: &[&str]) -> ExecRequest {
    ExecRequest {
        argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
        env: vec![],
        user: String::new(),
        workdir: String::new(),
        tty: Some(WinSize { rows: 31, cols: 97 }),
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        sticky: Vec::new(),
        hostname: "mtest".into(),
        address: [10, 0, 2, 15].into(),
        prefix: 24,
        gateway: [10, 0, 2, 2].into(),
        dns: vec![[10, 0, 2, 3].into()],
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        entropy: vec![7; 64],
        // 2033-05-18T03:33:20Z
        unix_nanos: 2_000_000_000_000_000_000,
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        mtu: Some(1400),
        mac: Some([2, 0xfa, 0, 0, 0, 9]),
        ipv6: None,
        services: Vec::new(),
        drop_ins: [("/etc/told/daemon.json", "/etc"), ("/etc/untold/daemon.json", "no-such-program")]
            .map(|(path, reader)| DropIn {
                path: path.to_owned(),
                text: "{\"told\": true}\n".to_owned(),
                meets: Meets::Json,
                readers: vec![reader.to_owned()],
                unless: Vec::new(),
                reload: None,
                form: Form::Text,
                variable: None,
            })
            .into(),
    }
}

async fn prepare() -> Parts {
    let dir = TempDir::new().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let agent = must(&mut Command::new(source.join("scripts/build-agent")));
    let agent = PathBuf::from(String::from_utf8(agent.stdout).unwrap().trim());

    let kernel = std::env::var("FIREACTIONS_KERNEL_DIR").unwrap_or("/var/cache/fireactions/kernel".into());
    let kernel = Path::new(&kernel);
    let modules = std::fs::read_dir(kernel.join("lib/modules"))
        .unwrap_or_else(|error| panic!("no guest kernel in {}: {error}; run 'make setup'", kernel.display()))
        .next()
        .unwrap()
        .unwrap()
        .path();
    let boot = boot::prepare(&dir.path().join("boot"), &kernel.join("vmlinuz"), Some(&modules), &agent)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    make_root(&dir.path().join("root.squashfs"));
    Parts { dir, boot }
}

/// BusyBox, two users, and an init that says that it runs.
fn make_root(path: &Path) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut entry = |kind: tar::EntryType, name: &str, mode: u32, content: &[u8], link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        let owner = if name == "home/runner" { 1000 } else { 0 };
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_size(content.len() as u64);
        match link {
            Some(target) => tar.append_link(&mut header, name, target).unwrap(),
            None => tar.append_data(&mut header, name, content).unwrap(),
        }
    };
    let (directory, regular, symlink) =
        (tar::EntryType::Directory, tar::EntryType::Regular, tar::EntryType::Symlink);
    for dir in ["bin", "sbin", "etc", "root", "home", "home/runner", "run", "run/service"] {
        entry(directory, dir, 0o755, b"", None);
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok());
    entry(regular, "bin/busybox", 0o755, &busybox.expect("no busybox-static; run 'make setup'"), None);
    for applet in String::from_utf8(must(Command::new("busybox").arg("--list")).stdout).unwrap().lines() {
        if !["busybox", "init"].contains(&applet) {
            entry(symlink, &format!("bin/{applet}"), 0o777, b"", Some("busybox"));
        }
    }
    entry(
        regular,
        "etc/passwd",
        0o644,
        b"root:x:0:0::/root:/bin/sh\nrunner:x:1000:1000::/home/runner:/bin/sh\n",
        None,
    );
    entry(regular, "etc/group", 0o644, b"root:x:0:\nrunner:x:1000:\ndocker:x:999:runner\n", None);
    // As in many images: a link to what only their own init makes.
    entry(symlink, "etc/resolv.conf", 0o777, b"", Some("../run/nothing/resolv.conf"));
    entry(symlink, "var", 0o777, b"", Some("run"));
    entry(
        regular,
        "sbin/init",
        0o755,
        b"#!/bin/sh\necho image init is $$\nwhile :; do sleep 1000 & wait; done\n",
        None,
    );
    let bytes = tar.into_inner().unwrap();

    let mut converter = Command::new("tar2sqfs")
        .args(["-q", "-f", "-c", "zstd"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("tar2sqfs does not start; 'make setup' installs it");
    converter.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(converter.wait().unwrap().success());
    assert!(File::open(path).unwrap().metadata().unwrap().len() > 0);
}

fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run 'make setup'"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The kernel's own TSC calibration: BogoMIPS times 500. A microvm cannot measure it on a busy host.
fn tsc_khz() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("bogomips"))?;
    let (whole, part) = line.split_once(": ")?.1.split_once('.')?;
    Some((whole.parse::<u32>().ok()? * 100 + part.parse::<u32>().ok()?) * 5 + 2)
}
