//! Real machines under TCG: their start, their ends, and what is left afterwards.

mod agent;
mod guest;
mod orphan;
mod snapshot;
mod trouble;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use self::guest::{Guest, UID, booted, console_says, qemu, wait_for};
use fireactions_vmm::{AgentEndpoint, Drive, ExitCause, Nic, ProcessRecord, Vm, Vmm, VmmError};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Bound of an adopted machine's console.
const MAX: u64 = 16 << 10;

fn signal(vm: &Vm, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(vm.process().pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn alive(vm: &Vm) -> bool {
    Path::new(&format!("/proc/{}", vm.process().pid)).exists()
}

async fn exited(vm: &Vm) -> fireactions_vmm::ExitReason {
    tokio::time::timeout(Duration::from_secs(90), vm.exited()).await.expect("the end is seen")
}

#[tokio::test]
async fn a_guest_that_powers_off_is_seen_and_leaves_nothing() {
    let (qemu, guest) = (qemu(), Guest::new("poweroff").await);
    let vm = qemu.spawn(&guest.spec).await.unwrap();
    let reason = exited(&vm).await;
    assert_eq!(reason.cause, ExitCause::Code(0), "{reason:?}");
    assert_eq!(reason.shutdown.as_deref(), Some("guest-shutdown"), "{reason:?}");
    assert!(reason.console_tail.contains("GUEST READY poweroff"), "{reason:?}");
    assert!(!reason.console_tail.contains("insmod"), "every module loads: {reason:?}");
    assert_eq!(exited(&vm.clone()).await, reason, "told again to whoever asks later");
    assert!(guest.cgroups().is_empty());
    qemu.sweep(&guest.spec.run_dir, &guest.spec.id, Some(vm.process())).await.unwrap();
    assert!(guest.leftovers().is_empty(), "{:?}", guest.leftovers());
}

#[tokio::test]
async fn a_panic_is_told_from_a_power_off() {
    let (qemu, guest) = (qemu(), Guest::new("panic").await);
    let vm = qemu.spawn(&guest.spec).await.unwrap();
    let reason = exited(&vm).await;
    assert_eq!(reason.shutdown.as_deref(), Some("guest-reset"), "{reason:?}");
    assert!(reason.console_tail.contains("Kernel panic"), "{reason:?}");
}

#[tokio::test]
async fn the_process_is_unprivileged_sandboxed_limited_and_apart() {
    let (qemu, guest) = (qemu(), Guest::new("sleep").await);
    let vm = booted(&*qemu, &guest.spec).await;
    let pid = vm.process().pid;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let user = UID.to_string();
    assert_eq!(field("Uid"), [user.as_str(); 4]);
    assert_eq!(field("Gid"), [user.as_str(); 4]);
    assert_eq!(field("Groups"), Vec::<String>::new());
    assert_eq!(field("CapEff"), ["0000000000000000"]);
    assert_eq!(field("Seccomp"), ["2"]);
    assert_eq!(field("NoNewPrivs"), ["1"]);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // Its own process group, nothing of the server's as standard input or output.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let group = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(2).unwrap().to_owned();
    assert_eq!(group, pid.to_string());
    for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let target = fs::read_link(fd.unwrap().path()).unwrap_or_default();
        assert!(!target.to_string_lossy().starts_with("pipe:"), "no pipe: {}", target.display());
    }
    // The sockets are the server's alone.
    for socket in ["qmp.sock", "agent.sock", "console.sock", "console.log"] {
        let meta = fs::metadata(guest.spec.run_dir.join(socket)).unwrap();
        assert_eq!(
            (meta.uid(), meta.mode() & 0o777),
            (rustix::process::geteuid().as_raw(), 0o600),
            "{socket}"
        );
    }
    let capabilities = qemu.capabilities();
    let cgroups = guest.cgroups();
    if capabilities.memory_limit {
        assert!(!cgroups.is_empty(), "a limit that is claimed is there");
    }
    for dir in &cgroups {
        let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        assert_eq!(members.trim(), pid.to_string(), "{}", dir.display());
        for (file, value) in [
            ("memory.limit_in_bytes", (128 + 448) << 20),
            ("memory.max", (128 + 448) << 20),
            ("pids.max", 129),
            ("cpu.cfs_quota_us", 150_000_u64),
        ] {
            if let Ok(text) = fs::read_to_string(dir.join(file)) {
                assert_eq!(text.trim(), value.to_string(), "{file}");
            }
        }
    }
    let reason = vm.power_off(Duration::from_secs(10)).await.unwrap();
    assert_eq!((reason.cause, reason.shutdown.as_deref()), (ExitCause::Code(0), Some("host-qmp-quit")));
    assert!(guest.cgroups().is_empty(), "{:?}", guest.cgroups());
}

#[tokio::test]
async fn a_killed_process_is_seen_at_once() {
    let (qemu, guest) = (qemu(), Guest::new("sleep").await);
    let vm = booted(&*qemu, &guest.spec).await;
    let killed = Instant::now();
    signal(&vm, Signal::KILL);
    let reason = exited(&vm).await;
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
    assert_eq!(reason.cause, ExitCause::Signal(9));
    assert!(reason.to_string().starts_with("killed by signal 9"), "{reason}");
    assert!(guest.cgroups().is_empty());
}

#[tokio::test]
async fn a_hung_vmm_is_killed_within_the_grace() {
    let (qemu, guest) = (qemu(), Guest::new("sleep").await);
    let vm = booted(&*qemu, &guest.spec).await;
    signal(&vm, Signal::STOP);
    let asked = Instant::now();
    let reason = vm.power_off(Duration::from_secs(2)).await.unwrap();
    assert_eq!(reason.cause, ExitCause::Signal(9));
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(5), "{took:?}");
    assert!(!alive(&vm));
}

#[tokio::test]
async fn disks_port_and_network_card_are_what_was_asked_for() {
    // A network namespace of this test's own: its threads, and QEMU, see nothing of the host's.
    std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .expect("root is needed for a network namespace");
        let ip = |args: &str| {
            let status = std::process::Command::new("ip").args(args.split(' ')).status().unwrap();
            assert!(status.success(), "ip {args}");
        };
        ip("tuntap add dev fatest0 mode tap");
        ip("link set fatest0 up");
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (qemu, mut guest) = (qemu(), Guest::new("devices").await);
            let root = guest.drive("root", 1 << 20, true);
            let scratch = guest.drive("scratch", 3 << 20, false);
            guest.spec.nics.push(Nic {
                tap: "fatest0".to_owned(),
                mac: [2, 0xfa, 0, 0, 1, 7],
                bandwidth_mbit: None,
            });
            let vm = qemu.spawn(&guest.spec).await.unwrap();
            let console = console_says(&vm, "DEVICES DONE").await;
            assert!(console.contains("DISK vda 2048 1"), "{console}");
            assert!(console.contains("DISK vdb 6144 0"), "{console}");
            assert!(console.contains("PORT org.fireactions.agent.0"), "{console}");
            assert!(console.contains("MAC 02:fa:00:00:01:07"), "{console}");
            assert_eq!(&fs::read(&scratch).unwrap()[1536..1543], b"written");
            assert_eq!(fs::read(&root).unwrap(), vec![0; 1 << 20], "read-only means it");
            let link = std::process::Command::new("ip").args(["link", "show", "fatest0"]).output().unwrap();
            assert!(String::from_utf8_lossy(&link.stdout).contains("LOWER_UP"), "the tap has its other end");
            vm.kill().await.unwrap();
            let absent = Nic { tap: "fatest1".to_owned(), mac: [2, 0, 0, 0, 0, 1], bandwidth_mbit: None };
            guest.spec.nics = vec![absent];
            let error = qemu.spawn(&guest.spec).await.unwrap_err();
            assert!(error.to_string().starts_with("cannot attach to tap fatest1"), "{error}");
            assert!(guest.leftovers().is_empty(), "a failed start undoes itself: {:?}", guest.leftovers());
        });
    })
    .join()
    .unwrap();
}

/// Starts the machine on a runtime of its own that is gone afterwards, without any goodbye.
async fn by_a_server_that_dies(guest: &Guest) -> ProcessRecord {
    let spec = guest.spec.clone();
    let server = move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let record = runtime.block_on(async { *booted(&*qemu(), &spec).await.process() });
        runtime.shutdown_background();
        record
    };
    tokio::task::spawn_blocking(server).await.unwrap()
}

#[tokio::test]
async fn a_machine_outlives_its_server_and_is_adopted() {
    let guest = Guest::new("echo").await;
    let record = by_a_server_that_dies(&guest).await;
    let qemu = qemu();
    let (id, run_dir) = (&guest.spec.id, &guest.spec.run_dir);
    let other = ProcessRecord { start_ticks: record.start_ticks + 1, ..record };
    assert!(qemu.adopt(id, run_dir, &other, MAX).await.unwrap().is_none(), "a reused number");
    let stranger = fireactions_model::MachineId::from_random([1; 8]);
    assert!(
        qemu.adopt(&stranger, run_dir, &record, MAX).await.unwrap().is_none(),
        "another machine's process"
    );
    // A serialised record, as the store gives it back.
    let record: ProcessRecord = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
    let vm = qemu.adopt(id, run_dir, &record, MAX).await.unwrap().expect("it still runs");
    let AgentEndpoint::Dial(path) = vm.agent() else { panic!("QEMU is dialled") };
    let mut agent = UnixStream::connect(path).await.unwrap();
    agent.write_all(b"hello\n").await.unwrap();
    let mut answer = [0; 15];
    tokio::time::timeout(Duration::from_secs(30), agent.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"guest got hello");
    let reason = vm.power_off(Duration::from_secs(10)).await.unwrap();
    assert_eq!(reason.shutdown.as_deref(), Some("host-qmp-quit"), "{reason:?}");
    assert!(reason.console_tail.contains("the server restarted"), "{reason:?}");
    assert!(qemu.adopt(id, run_dir, &record, MAX).await.unwrap().is_none(), "gone");
    qemu.sweep(run_dir, id, Some(&record)).await.unwrap();
    assert!(guest.leftovers().is_empty() && guest.cgroups().is_empty());
}

#[tokio::test]
async fn a_process_without_a_record_is_swept_twice() {
    let (qemu, guest) = (qemu(), Guest::new("sleep").await);
    let (id, run_dir) = (&guest.spec.id, &guest.spec.run_dir);
    let bystander = Guest::new("sleep").await;
    let other = booted(&*qemu, &bystander.spec).await;
    let vm = booted(&*qemu, &guest.spec).await;
    for _ in 0..2 {
        qemu.sweep(run_dir, id, None).await.unwrap();
        wait_for("the process to be reaped", || (!alive(&vm)).then_some(())).await;
        assert!(guest.leftovers().is_empty(), "{:?}", guest.leftovers());
        assert!(guest.cgroups().is_empty(), "{:?}", guest.cgroups());
    }
    assert!(alive(&other), "another machine is not touched");
    other.kill().await.unwrap();
}

#[tokio::test]
async fn a_flooded_console_stays_bounded_with_and_without_a_server() {
    let guest = Guest::new("flood").await;
    let record = by_a_server_that_dies(&guest).await;
    let console = guest.spec.run_dir.join("console.log");
    let size = || fs::metadata(&console).map_or(0, |meta| meta.len());
    let before = size();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(size(), before, "without a server nothing grows");
    let vm =
        qemu().adopt(&guest.spec.id, &guest.spec.run_dir, &record, MAX).await.unwrap().expect("it runs on");
    wait_for("the console to be recorded again", || {
        (size() > before + 1024 || size() < before).then_some(())
    })
    .await;
    vm.kill().await.unwrap();

    let (qemu, guest) = (qemu(), Guest::new("flood").await);
    let vm = booted(&*qemu, &guest.spec).await;
    let size = || fs::metadata(vm.console()).map_or(0, |meta| meta.len());
    for _ in 0..100 {
        assert!(size() <= guest.spec.console_max, "{}", size());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(size() >= guest.spec.console_max / 2, "the guest wrote more than fits: {}", size());
    vm.kill().await.unwrap();
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why() {
    let (qemu, mut guest) = (qemu(), Guest::new("sleep").await);
    guest.spec.uid = 0;
    let error = qemu.spawn(&guest.spec).await.unwrap_err().to_string();
    assert!(error.contains("never run as root"), "{error}");
    guest.spec.uid = UID;
    guest.spec.boot.kernel = guest.spec.boot.initrd.clone();
    let error = qemu.spawn(&guest.spec).await.unwrap_err();
    assert!(matches!(&error, VmmError::Died { log, .. } if !log.is_empty()), "QEMU's own words: {error}");
    guest.spec.drives.push(Drive {
        id: "root".to_owned(),
        path: "/nonexistent/disk".into(),
        read_only: true,
    });
    let error = qemu.spawn(&guest.spec).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot open the drive /nonexistent/disk"), "{error}");
    assert!(guest.leftovers().is_empty() && guest.cgroups().is_empty());
}
