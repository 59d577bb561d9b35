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

use self::guest::{DEADLINE, Guest, UID, booted, console_says, qemu, stays_bounded, wait_for};
use fireactions_model::DiskLimits;
use fireactions_vmm::{AgentEndpoint, Drive, ExitCause, Nic, ProcessRecord, Vm, Vmm, VmmError};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
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
    tokio::time::timeout(DEADLINE, vm.exited()).await.expect("the end is seen")
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
    /// Larger than everything else that it may write.
    const SCRATCH: u64 = 80 << 20;
    let (qemu, mut guest) = (qemu(), Guest::new("sleep").await);
    guest.drive("root", 1 << 20, true);
    guest.drive("scratch", SCRATCH, false);
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
    // Soft and hard. No file that it writes, or a guest that took it over, grows beyond the scratch disk.
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    for (name, value) in [("Max core file size", 0), ("Max file size", SCRATCH), ("Max open files", 1024)] {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let values: Vec<&str> = line.split_whitespace().take(2).collect();
        assert_eq!(values, [value.to_string(), value.to_string()], "{name}");
    }
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
    for dir in &cgroups {
        let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        assert_eq!(members.trim(), pid.to_string(), "{}", dir.display());
    }
    // In the words of either version, whichever has the controller.
    let memory = ((128_u64 + 448 + 1) << 20).to_string();
    for (claimed, limits) in [
        (capabilities.memory_limit, [("memory.limit_in_bytes", memory.as_str()), ("memory.max", &memory)]),
        (capabilities.cpu_limit, [("cpu.cfs_quota_us", "150000"), ("cpu.max", "150000 100000")]),
        (capabilities.pids_limit, [("pids.max", "129"); 2]),
    ] {
        let found = limits.iter().find_map(|(file, value)| {
            let text = cgroups.iter().find_map(|dir| fs::read_to_string(dir.join(file)).ok())?;
            Some((file, text, value))
        });
        let Some((file, text, value)) = found else {
            assert!(!claimed, "a limit that is claimed is there: {limits:?} in {cgroups:?}");
            continue;
        };
        assert!(claimed && text.trim() == *value, "{file}: {text}, not {value}");
    }
    let reason = vm.power_off(DEADLINE).await.unwrap();
    assert_eq!((reason.cause, reason.shutdown.as_deref()), (ExitCause::Code(0), Some("host-qmp-quit")));
    assert!(guest.cgroups().is_empty(), "{:?}", guest.cgroups());
}

/// Asks QEMU on its control socket, which the server has let go of.
async fn ask(vm: &Vm, socket: &Path, command: &str) -> serde_json::Value {
    vm.detach();
    let qmp = UnixStream::connect(socket).await.unwrap();
    let (from, mut to) = qmp.into_split();
    let mut lines = tokio::io::BufReader::new(from).lines();
    for command in ["qmp_capabilities", command] {
        to.write_all(format!("{{\"execute\": \"{command}\"}}\n").as_bytes()).await.unwrap();
    }
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let line =
            tokio::time::timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().expect("an answer");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        answers.extend(line.get("return").cloned());
    }
    answers.pop().unwrap()
}

#[tokio::test]
async fn the_scratch_disk_alone_is_limited() {
    let (qemu, mut guest) = (qemu(), Guest::new("sleep").await);
    guest.drive("root", 1 << 20, true);
    let scratch = guest.drive("scratch", 1 << 20, false);
    guest.spec.hardware.disk_limits = DiskLimits { mib_per_second: Some(3), iops: Some(500) };
    let vm = qemu.spawn(&guest.spec).await.unwrap();
    // Behind QEMU's own limits, where the host's kernel has them, those of the disk that the file is on.
    let number = fs::metadata(&scratch).unwrap().dev();
    let disk = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let cgroups = guest.cgroups();
    let limits = |file: &str| cgroups.iter().find_map(|dir| fs::read_to_string(dir.join(file)).ok());
    if Path::new("/sys/dev/block").join(&disk).exists()
        && !Path::new("/sys/dev/block").join(&disk).join("partition").exists()
    {
        for (file, limit) in
            [("read_bps", 3 << 20), ("write_bps", 3 << 20), ("read_iops", 500), ("write_iops", 500)]
        {
            if let Some(text) = limits(&format!("blkio.throttle.{file}_device")) {
                assert_eq!(text.trim(), format!("{disk} {limit}"), "{file}");
            }
        }
        if let Some(text) = limits("io.max") {
            assert_eq!(text.trim(), format!("{disk} rbps=3145728 wbps=3145728 riops=500 wiops=500"));
        }
    }
    let drives = ask(&vm, &guest.spec.run_dir.join("qmp.sock"), "query-block").await;
    let limits: Vec<_> = ["root", "scratch"]
        .map(|name| drives.as_array().unwrap().iter().find(|drive| drive["device"] == name).unwrap())
        .map(|drive| (drive["inserted"]["bps"].clone(), drive["inserted"]["iops"].clone()))
        .into();
    assert_eq!(limits, [(0.into(), 0.into()), ((3 << 20).into(), 500.into())], "{drives}");
}

#[tokio::test]
async fn a_killed_process_is_seen() {
    let (qemu, guest) = (qemu(), Guest::new("sleep").await);
    let vm = booted(&*qemu, &guest.spec).await;
    signal(&vm, Signal::KILL);
    let reason = exited(&vm).await;
    assert_eq!(reason.cause, ExitCause::Signal(9));
    assert!(reason.to_string().starts_with("killed by signal 9"), "{reason}");
    assert!(guest.cgroups().is_empty());
}

#[tokio::test]
async fn a_hung_vmm_is_killed_after_the_grace() {
    let (qemu, guest) = (qemu(), Guest::new("sleep").await);
    let vm = booted(&*qemu, &guest.spec).await;
    signal(&vm, Signal::STOP);
    let (asked, grace) = (Instant::now(), Duration::from_secs(1));
    let reason = tokio::time::timeout(DEADLINE, vm.power_off(grace)).await.expect("it ends").unwrap();
    assert_eq!(reason.cause, ExitCause::Signal(9));
    assert!(asked.elapsed() >= grace, "{:?}", asked.elapsed());
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
        // A dead server writes no more: its threads are waited for, or one may still have output in hand.
        runtime.shutdown_timeout(DEADLINE);
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
    tokio::time::timeout(DEADLINE, agent.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"guest got hello");
    let reason = vm.power_off(DEADLINE).await.unwrap();
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
    let (before, worked) = (size(), cpu_ticks(record.pid));
    // A guest that waited for somebody to take its output would use no processor.
    wait_for("the guest to go on alone", || (cpu_ticks(record.pid) > worked + 20).then_some(())).await;
    assert_eq!(size(), before, "without a server nothing grows");
    let vm =
        qemu().adopt(&guest.spec.id, &guest.spec.run_dir, &record, MAX).await.unwrap().expect("it runs on");
    stays_bounded(&vm, MAX).await;
    assert!(size() >= MAX / 2, "the latest output is kept: {}", size());
    vm.kill().await.unwrap();
}

/// What a process has used of the processor, in hundredths of a second (proc_pid_stat(5): utime and stime).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let words = stat.rsplit_once(')').unwrap().1.split_whitespace();
    words.skip(11).take(2).map(|word| word.parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why() {
    let (qemu, mut guest) = (qemu(), Guest::new("sleep").await);
    guest.spec.uid = 0;
    let error = qemu.spawn(&guest.spec).await.unwrap_err().to_string();
    assert!(error.contains("never runs as root"), "{error}");
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
