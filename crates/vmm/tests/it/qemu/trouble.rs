//! Machines in trouble: stopped, out of memory, on a full disk, in another server's hands.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::qemu::guest::{DEADLINE, Guest, booted, console_says, diagnosed, qemu, wait_for};
use fireactions_model::MachineId;
use fireactions_vmm::{AgentEndpoint, ExitCause, Vm, Vmm};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

fn signal(vm: &Vm, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(vm.process().pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Does `work` on a thread of its own that has left these namespaces.
fn apart<F: Future<Output = ()>>(flags: CloneFlags, work: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(flags).expect("root is needed for a namespace");
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[tokio::test]
async fn a_stopped_vmm_is_told_from_a_running_one_in_time() {
    let (qemu, guest) = (qemu(), Guest::new("sleep").await);
    let vm = booted(&*qemu, &guest.spec).await;
    let pid = vm.process().pid;
    diagnosed(&vm, None).await;
    signal(&vm, Signal::STOP);
    let stopped = format!("its VMM process {pid} is stopped by a signal (SIGSTOP)");
    wait_for("the stop", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ").then_some(())
    })
    .await;
    // At the first look: it is not asked, for it cannot answer.
    let told = tokio::time::timeout(DEADLINE, vm.diagnose()).await.expect("a look ends");
    assert_eq!(told, Some(stopped));
    signal(&vm, Signal::CONT);
    diagnosed(&vm, None).await;
    signal(&vm, Signal::KILL);
    let ended = tokio::time::timeout(DEADLINE, vm.exited()).await.unwrap();
    assert_eq!(vm.diagnose().await, Some(format!("its VMM process {pid} has ended: {ended}")));
}

#[tokio::test]
async fn a_vmm_that_its_cgroup_kills_for_memory_says_so() {
    let (qemu, guest) = (qemu(), Guest::new("eat").await);
    assert!(qemu.capabilities().memory_limit, "this test needs a writable memory cgroup");
    let vm = booted(&*qemu, &guest.spec).await;
    // What it holds now and a little more: the guest will ask for its whole memory.
    let mut limit = 0;
    for dir in guest.cgroups() {
        for (used, file) in
            [("memory.usage_in_bytes", "memory.limit_in_bytes"), ("memory.current", "memory.max")]
        {
            if let Ok(text) = fs::read_to_string(dir.join(used)) {
                limit = text.trim().parse::<u64>().unwrap() + (8 << 20);
                fs::write(dir.join(file), limit.to_string()).unwrap();
            }
        }
    }
    assert!(limit > 0, "{:?}", guest.cgroups());
    let AgentEndpoint::Dial(path) = vm.agent() else { panic!("QEMU is dialled") };
    let mut agent = UnixStream::connect(path).await.unwrap();
    agent.write_all(b"go\n").await.unwrap();
    let reason = tokio::time::timeout(DEADLINE, vm.exited()).await.expect("it is killed");
    assert_eq!(reason.cause, ExitCause::Signal(9), "{reason:?}");
    assert!(reason.oom_kills >= 1, "{reason:?}");
    let expected = format!(
        "killed by signal 9; the host killed it for memory: its cgroup's limit of {} MiB was reached",
        limit >> 20
    );
    assert_eq!(reason.to_string(), expected);
    assert!(guest.cgroups().is_empty());
}

#[test]
fn a_full_disk_of_the_host_is_told() {
    apart(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS, || async {
        let (qemu, mut guest) = (qemu(), Guest::new("fill").await);
        let disk = guest.dir.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let mount =
            |args: &[&str]| assert!(Command::new("mount").args(args).status().unwrap().success(), "{args:?}");
        mount(&["--make-rprivate", "/"]);
        mount(&["-t", "tmpfs", "-o", "size=1m", "none", disk.to_str().unwrap()]);
        // Larger than the disk it is on.
        guest.drive("disk/scratch", 8 << 20, false);
        let drive = guest.spec.drives.last_mut().unwrap();
        drive.id = "scratch".to_owned();
        let vm = booted(&*qemu, &guest.spec).await;
        let expected = format!(
            "its VMM process {} has paused the guest: the host's disk that holds its scratch disk is full",
            vm.process().pid
        );
        diagnosed(&vm, Some(&expected)).await;
        vm.kill().await.unwrap();
    });
}

#[test]
fn another_servers_machines_are_not_touched() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (here, guest) = (qemu(), Guest::new("sleep").await);
        let vm = booted(&*here, &guest.spec).await;
        let (id, run_dir) = (guest.spec.id.clone(), guest.dir.path().join("nothing"));
        fs::create_dir(&run_dir).unwrap();
        assert!(here.strays().await.unwrap().contains(&id));
        let cgroups = guest.cgroups();
        // An empty cgroup has nobody to whom it could belong.
        let empty = MachineId::from_random([0xee, 1, 2, 3, 4, 5, 6, 7]);
        for dir in &cgroups {
            fs::create_dir(dir.parent().unwrap().join(empty.as_str())).unwrap();
        }
        let there = std::thread::spawn(move || {
            apart(CloneFlags::CLONE_NEWNET, move || async move {
                let there = qemu();
                let strays = there.strays().await.unwrap();
                assert!(!strays.contains(&id), "{strays:?}");
                assert!(cgroups.is_empty() || strays.contains(&empty), "{strays:?}");
                there.sweep(&run_dir, &empty, None).await.unwrap();
                assert!(!there.strays().await.unwrap().contains(&empty));
                // Whatever it says about the cgroup that it cannot remove: the process lives.
                let _ = there.sweep(&run_dir, &id, None).await;
            });
        });
        tokio::task::spawn_blocking(|| there.join().unwrap()).await.unwrap();
        diagnosed(&vm, None).await;
        here.sweep(&guest.spec.run_dir, &guest.spec.id, None).await.unwrap();
        let reason = tokio::time::timeout(DEADLINE, vm.exited()).await.unwrap();
        assert_eq!(reason.cause, ExitCause::Signal(9));
        assert!(guest.leftovers().is_empty() && guest.cgroups().is_empty());
    });
}

/// Processes that look like machines and do nothing until their standard input ends.
fn stand_ins(count: u8) -> Vec<(MachineId, Child)> {
    let start = |number| {
        let id = MachineId::from_random([0xdd, number, 0, 0, 0, 0, 0, std::process::id().to_le_bytes()[0]]);
        let mark = format!("guest=fireactions-{id},debug-threads=on");
        let child = Command::new("sh")
            .args(["-c", "echo; read x; exit", "sh", "-name", &mark])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        (id, child)
    };
    let mut all: Vec<(MachineId, Child)> = (0..count).map(start).collect();
    for (_, child) in &mut all {
        // Until then it may be on its way to its own program.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    }
    all
}

#[tokio::test]
async fn two_hundred_processes_are_found_and_swept_at_once() {
    let (qemu, dir) = (qemu(), tempfile::tempdir().unwrap());
    let mut machines = stand_ins(200);
    let strays = qemu.strays().await.unwrap();
    for (id, _) in &machines {
        assert!(strays.contains(id));
    }
    let sweeps = machines.iter().map(|(id, _)| {
        let (qemu, dir, id) = (qemu.clone(), dir.path().to_owned(), id.clone());
        tokio::spawn(async move { qemu.sweep(&dir, &id, None).await })
    });
    for sweep in sweeps.collect::<Vec<_>>() {
        sweep.await.unwrap().unwrap();
    }
    for (_, child) in &mut machines {
        let mut rest = Vec::new();
        // The end of the output: it is gone, whoever reaped it.
        child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        let _ = child.wait();
    }
}

#[tokio::test]
async fn a_guest_that_runs_out_of_its_own_memory_is_no_trouble_of_the_hosts() {
    let (qemu, guest) = (qemu(), Guest::new("eat").await);
    let vm = booted(&*qemu, &guest.spec).await;
    let AgentEndpoint::Dial(path) = vm.agent() else { panic!("QEMU is dialled") };
    let mut agent = UnixStream::connect(path).await.unwrap();
    agent.write_all(b"go\n").await.unwrap();
    // With room in its cgroup the guest kills its own and the VMM lives.
    console_says(&vm, "EATEN 137").await;
    diagnosed(&vm, None).await;
    let reason = vm.kill().await.unwrap();
    assert_eq!((reason.oom_kills, reason.oom_limit), (0, None), "{reason:?}");
}
