//! A machine whose server is another process that has ended: the one that adopts it is not its parent.

use std::path::Path;
use std::process::Command;

use crate::qemu::guest::{DEADLINE, Guest, booted, diagnosed, qemu, stays_bounded};
use fireactions_model::MachineId;
use fireactions_vmm::{AgentEndpoint, ExitCause, ProcessRecord, Vmm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Where the other process makes its machine, and in which mode.
const DIR: &str = "FIREACTIONS_TEST_DIR";
const MODE: &str = "FIREACTIONS_TEST_MODE";

/// Bound of the console.
const MAX: u64 = 16 << 10;

/// Runs in the other process: starts a machine, writes down what a store would, and ends.
#[tokio::test]
async fn start_one_for_another_process() {
    let (Some(dir), Ok(mode)) = (std::env::var_os(DIR), std::env::var(MODE)) else { return };
    let mut inner = tempfile::tempdir_in(&dir).unwrap();
    inner.disable_cleanup(true);
    let guest = Guest::within(inner, &mode).await;
    let vm = booted(&*qemu(), &guest.spec).await;
    let row =
        serde_json::json!({ "id": guest.spec.id, "run_dir": guest.spec.run_dir, "process": vm.process() });
    std::fs::write(Path::new(&dir).join("row.json"), row.to_string()).unwrap();
    // As a server that is killed: nothing is dropped.
    std::process::exit(0);
}

/// What the other process wrote.
struct Row {
    id: MachineId,
    run_dir: std::path::PathBuf,
    process: ProcessRecord,
}

/// Has another process start a machine, and waits for that process's end.
fn started_elsewhere(dir: &Path, mode: &str) -> Row {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "qemu::orphan::start_one_for_another_process", "--nocapture"])
        .env(DIR, dir)
        .env(MODE, mode)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let row: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("row.json")).unwrap()).unwrap();
    let of = |name: &str| row[name].clone();
    Row {
        id: serde_json::from_value(of("id")).unwrap(),
        run_dir: serde_json::from_value(of("run_dir")).unwrap(),
        process: serde_json::from_value(of("process")).unwrap(),
    }
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_orphan_is_adopted_and_its_end_seen() {
    let dir = tempfile::tempdir().unwrap();
    let qemu = qemu();
    let Row { id, run_dir, process } = started_elsewhere(dir.path(), "echo");
    assert_ne!(parent_of(process.pid), std::process::id(), "not this process's child");
    assert!(qemu.strays().await.unwrap().contains(&id), "found without a record");

    let vm = qemu.adopt(&id, &run_dir, &process, MAX).await.unwrap().expect("it still runs");
    let AgentEndpoint::Dial(path) = vm.agent() else { panic!("QEMU is dialled") };
    let mut agent = UnixStream::connect(path).await.unwrap();
    agent.write_all(b"hello\n").await.unwrap();
    let mut answer = [0; 15];
    tokio::time::timeout(DEADLINE, agent.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"guest got hello");
    diagnosed(&vm, None).await;

    let reason = vm.power_off(DEADLINE).await.unwrap();
    assert_eq!((reason.cause, reason.shutdown.as_deref()), (ExitCause::Unknown, Some("host-qmp-quit")));
    assert!(reason.console_tail.contains("GUEST READY echo"), "what came before: {reason:?}");
    let why = reason.to_string();
    assert!(
        why.starts_with("exit status unknown: started by an earlier server process (host-qmp-quit)"),
        "{why}"
    );
    assert!(qemu.adopt(&id, &run_dir, &process, MAX).await.unwrap().is_none(), "gone");
    qemu.sweep(&run_dir, &id, Some(&process)).await.unwrap();
    assert_eq!(std::fs::read_dir(&run_dir).unwrap().count(), 0);
    assert!(!qemu.strays().await.unwrap().contains(&id));
}

#[tokio::test]
async fn the_console_of_an_orphan_goes_on_within_the_callers_bound() {
    let dir = tempfile::tempdir().unwrap();
    let qemu = qemu();
    let Row { id, run_dir, process } = started_elsewhere(dir.path(), "flood");
    let vm = qemu.adopt(&id, &run_dir, &process, MAX / 2).await.unwrap().expect("it still runs");
    stays_bounded(&vm, MAX / 2).await;
    // Killed by somebody else: whoever inherited it has its status, the end is seen all the same.
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let reason = tokio::time::timeout(DEADLINE, vm.exited()).await.expect("its end is seen");
    assert_eq!((reason.cause, reason.shutdown.as_deref()), (ExitCause::Unknown, None));
    qemu.sweep(&run_dir, &id, None).await.unwrap();
    assert_eq!(std::fs::read_dir(&run_dir).unwrap().count(), 0);
}
