//! A guest without the agent: busybox and a script behind the modules that `boot::prepare` puts in front. The kernel
//! unpacks archives one after another, and a later `/init` replaces an earlier one.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal};

use fireactions_model::{GuestSetup, Hardware, InitMode, MachineId};
use fireactions_vmm::accel::{Accel, Choice};
use fireactions_vmm::boot::{self, BootFiles};
use fireactions_vmm::qemu::{Qemu, QemuConfig};
use fireactions_vmm::{Drive, Start, Vm, VmSpec, Vmm};

/// Name of the test's cgroups, apart from a server's.
pub(crate) static CGROUP: LazyLock<String> = LazyLock::new(|| fireactions_testkit::cgroups::parent("qemu"));

/// Machines of these tests run as this user; nothing else on a host does.
pub(crate) const UID: u32 = 64_123;

/// For whatever a machine does: most of it takes moments, and a host that runs several of these at once has few to spare.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

const SCRIPT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /bin /proc /sys /dev
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read module; do insmod /modules/$module || echo "insmod $module failed"; done < /modules/modules.list
read line < /proc/cmdline
mode=sleep
for word in $line; do case $word in test=*) mode=${word#test=};; esac; done
echo "GUEST READY $mode"
case $mode in
  poweroff) poweroff -f;;
  panic) echo c > /proc/sysrq-trigger;;
  devices)
    for d in vda vdb; do echo "DISK $d $(cat /sys/block/$d/size) $(cat /sys/block/$d/ro)"; done
    echo "PORT $(cat /sys/class/virtio-ports/vport*/name)"
    echo "MAC $(cat /sys/class/net/eth0/address)"
    ip link set eth0 up
    echo written | dd of=/dev/vdb bs=512 seek=3 conv=notrunc,sync 2>/dev/null && sync
    echo stolen | dd of=/dev/vda bs=512 conv=notrunc,sync 2>&1 | tail -1
    echo "DEVICES DONE"; sleep 1000;;
  # Without a host at the other end reading says "end of file", and is tried again at once: a guest may be one that has no
  # timer to sleep by (crates/agent/src/timer.rs). The port stays open: what has come by the time it is closed is thrown away.
  echo) exec 3<>/dev/vport0p1; while :; do if read -r word <&3; then echo "guest got $word" >&3; fi; done;;
  # Waits for a word, so that the test has time for its preparations.
  # What is eaten is a process's own, which is free again after its end.
  eat) exec 3<>/dev/vport0p1; until read -r word <&3; do :; done
    echo 1 > /proc/sys/vm/overcommit_memory
    dd if=/dev/zero of=/dev/null bs=200M count=1; echo "EATEN $?"; sleep 1000;;
  fill) dd if=/dev/zero of=/dev/vda bs=64k; echo FILLED; sleep 1000;;
  # Each line says that it runs: the first one does not stay.
  flood) while :; do echo "GUEST READY 012345678901234567890123456789012345678901234567890123456789"; done;;
  *) sleep 1000;;
esac
"#;

/// One machine's surroundings, removed with it.
pub(crate) struct Guest {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) spec: VmSpec,
}

impl Guest {
    pub(crate) async fn new(mode: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), mode).await
    }

    /// With all its files in this directory.
    pub(crate) async fn within(dir: tempfile::TempDir, mode: &str) -> Self {
        let run_dir = dir.path().join("run");
        std::fs::create_dir(&run_dir).unwrap();
        // As a server keeps it: nobody but root enters.
        std::fs::set_permissions(&run_dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        let boot = boot_files(dir.path()).await;
        let spec = VmSpec {
            id: id(),
            boot,
            cmdline_extra: format!("test={mode}"),
            vcpus: 1,
            memory_mib: 128,
            drives: Vec::new(),
            nics: Vec::new(),
            run_dir,
            uid: UID,
            gid: UID,
            console_max: 16 << 10,
            init: InitMode::Agent,
            start: Start::Boot,
            guest: GuestSetup::default(),
            hardware: Hardware::default(),
            metadata: None,
        };
        Self { dir, spec }
    }

    pub(crate) fn drive(&mut self, id: &str, size: u64, read_only: bool) -> PathBuf {
        let path = self.dir.path().join(id);
        std::fs::File::create(&path).unwrap().set_len(size).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self.spec.drives.push(Drive { id: id.to_owned(), path: path.clone(), read_only });
        path
    }

    /// Files in the run directory.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.spec.run_dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Cgroup directories of the machine.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        cgroups(&self.spec.id)
    }
}

/// Cgroup directories of a machine, in every hierarchy that is mounted.
pub(crate) fn cgroups(id: &MachineId) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let roots = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?, words.next()?);
        kind.starts_with("cgroup").then_some(at)
    });
    let dirs = roots.map(|root| Path::new(root).join(CGROUP.as_str()).join(id.as_str()));
    dirs.filter(|dir| dir.exists()).collect()
}

/// A failed test must not leave its machine behind; a passed one has none.
impl Drop for Guest {
    fn drop(&mut self) {
        kill_all(std::slice::from_ref(&self.spec.id));
    }
}

/// Kills what runs of these machines.
pub(crate) fn kill_all(machines: &[MachineId]) {
    let marks: Vec<String> = machines.iter().map(|id| format!("guest=fireactions-{id},")).collect();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && marks.iter().any(|mark| arguments.contains(mark))
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

pub(crate) fn qemu() -> Arc<Qemu> {
    let choice = Choice { accel: Accel::Tcg, why: "a test".to_owned() };
    Arc::new(Qemu::new(QemuConfig { cgroup_parent: Some(CGROUP.clone()), ..QemuConfig::new(choice) }))
}

/// Waits for a whole line with this text on the console: it comes in pieces.
pub(crate) async fn console_says(vm: &Vm, text: &str) -> String {
    let console = || String::from_utf8_lossy(&std::fs::read(vm.console()).unwrap_or_default()).into_owned();
    let said = async {
        loop {
            let console = console();
            if console.split_inclusive('\n').any(|line| line.contains(text) && line.ends_with('\n')) {
                return console;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let said = tokio::time::timeout(DEADLINE, said).await;
    said.unwrap_or_else(|_| {
        panic!("waited {DEADLINE:?} for '{text}' on the console, which says:\n{}", console())
    })
}

/// Looks again until there is something to be seen.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looks = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, looks).await;
    found.unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {what}"))
}

/// Looks on while a flooded console drops its older half several times: it never holds more than `max` bytes.
pub(crate) async fn stays_bounded(vm: &Vm, max: u64) {
    let (mut file, mut replaced) = (0, 0);
    wait_for("the console to be full several times", || {
        let meta = std::fs::metadata(vm.console()).unwrap();
        assert!(meta.len() <= max, "{}", meta.len());
        replaced += u32::from(std::mem::replace(&mut file, meta.ino()) != meta.ino());
        (replaced > 3).then_some(())
    })
    .await;
}

/// Asks until this is what is wrong with a machine, or nothing is: on a busy host its VMM may need a moment to answer.
pub(crate) async fn diagnosed(vm: &Vm, expected: Option<&str>) {
    let mut last = None;
    let asked = tokio::time::timeout(DEADLINE, async {
        loop {
            last = vm.diagnose().await;
            if last.as_deref() == expected {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(asked.await.is_ok(), "expected {expected:?} within {DEADLINE:?}; last: {last:?}");
}

/// Spawns, and waits until the guest's script runs.
pub(crate) async fn booted(vmm: &dyn Vmm, spec: &VmSpec) -> Vm {
    let vm = vmm.spawn(spec).await.unwrap();
    console_says(&vm, "GUEST READY").await;
    vm
}

pub(crate) fn id() -> MachineId {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    let mut random = [0; 8];
    random[..2].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes()[..2]);
    random[2..4].copy_from_slice(&std::process::id().to_le_bytes()[..2]);
    random[4..].copy_from_slice(&now.to_le_bytes());
    MachineId::from_random(random)
}

/// The guests' kernel and the directory of its modules.
pub(crate) fn kernel() -> (PathBuf, PathBuf) {
    let kernel =
        std::env::var("FIREACTIONS_KERNEL_DIR").unwrap_or("/var/cache/fireactions/kernel".to_owned());
    let kernel = Path::new(&kernel);
    let versions = std::fs::read_dir(kernel.join("lib/modules"))
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/fetch-kernel", kernel.display()));
    let modules = versions.map(|entry| entry.unwrap().path()).next().expect("a kernel version");
    (kernel.join("vmlinuz"), modules)
}

async fn boot_files(dir: &Path) -> BootFiles {
    let (kernel, modules) = kernel();
    let busybox = Path::new("/usr/bin/busybox");
    assert!(busybox.exists(), "busybox-static is needed: 'make setup' installs it");
    // Shared by all tests: 50 MB of kernel need not be unpacked for each.
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boot");
    let mut files = boot::prepare(&shared, &kernel, Some(&modules), busybox).await.unwrap();
    let initrd = dir.join("initramfs.cpio");
    let mut bytes = std::fs::read(&files.initrd).unwrap();
    bytes.extend(script_archive(dir, busybox));
    std::fs::write(&initrd, bytes).unwrap();
    files.initrd = initrd;
    files
}

fn script_archive(dir: &Path, busybox: &Path) -> Vec<u8> {
    let root = dir.join("initramfs");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy(busybox, root.join("bin/busybox")).unwrap();
    std::fs::write(root.join("init"), SCRIPT).unwrap();
    std::fs::set_permissions(root.join("init"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = Command::new("busybox")
        .args(["cpio", "-o", "-H", "newc"])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"bin\nbin/busybox\ninit\n").unwrap();
    let archive = child.wait_with_output().unwrap().stdout;
    std::fs::remove_dir_all(root).unwrap();
    archive
}
