//! What there is to see of a guest that hangs, kept in one directory:
//!
//! ```text
//!  console.log   host-threads   monitor   virtio   host-stacks   guest-stacks   kernel-log
//! ```
//!
//! Each is taken for itself: what cannot be had leaves a line that says why.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use fireactions_testkit::qmp::Monitor;
use fireactions_vmm::{Vm, VmSpec};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::Arguments;

/// A debugger that has the kernel's symbols to read.
const DEBUGGER_DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks at the same registers: does it run in circles, or stand?
const BETWEEN: Duration = Duration::from_millis(300);

/// Where QEMU listens for a debugger of the guest. It is in the namespace of this program alone.
const DEBUG_PORT: u16 = 1234;

/// Keeps it, and returns where. The machine is let go of by its driver for that, and goes on.
pub(crate) async fn collect(arguments: &Arguments, spec: &VmSpec, vm: &Vm, name: &str) -> PathBuf {
    let dir = arguments.keep.join(name);
    if let Err(error) = std::fs::create_dir_all(&dir) {
        eprintln!("boots: cannot make {}: {error}", dir.display());
        return dir;
    }
    let keep = |file: &str, content: anyhow::Result<String>| {
        let content = content.unwrap_or_else(|error| format!("{error:#}\n"));
        if let Err(error) = std::fs::write(dir.join(file), content) {
            eprintln!("boots: cannot write {}: {error}", dir.join(file).display());
        }
    };
    let pid = vm.process().pid;
    keep("host-threads", threads(pid));
    keep(
        "console.log",
        std::fs::read(vm.console()).map(|b| String::from_utf8_lossy(&b).into_owned()).map_err(Into::into),
    );
    // It has the only connection to the control socket.
    vm.detach();
    match Monitor::connect(&spec.run_dir.join("qmp.sock")).await {
        Ok(mut monitor) => {
            keep("monitor", Ok(registers(&mut monitor).await));
            keep("virtio", virtio(&mut monitor).await);
            keep("host-stacks", host_stacks(pid).await);
            keep("guest-stacks", guest_stacks(arguments, &mut monitor, spec, &dir).await);
            keep("monitor-after", Ok(registers(&mut monitor).await));
        }
        Err(error) => {
            keep("monitor", Err(error.into()));
            keep("host-stacks", host_stacks(pid).await);
        }
    }
    dir
}

/// Keeps the console alone, of a guest that has ended.
pub(crate) fn console(keep: &Path, spec: &VmSpec, name: &str) {
    let dir = keep.join(name);
    let copy = || {
        std::fs::create_dir_all(&dir)?;
        std::fs::copy(spec.run_dir.join("console.log"), dir.join("console.log"))
    };
    if let Err(error) = copy() {
        eprintln!("boots: cannot keep the console of {name}: {error}");
    }
}

/// QEMU's threads, as the host's kernel sees them.
fn threads(pid: u32) -> anyhow::Result<String> {
    let mut text = String::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let _ = writeln!(text, "== {}", task.display());
        for file in ["comm", "wchan", "syscall", "stack", "schedstat", "stat"] {
            let content = std::fs::read_to_string(task.join(file)).unwrap_or_else(|error| error.to_string());
            let _ = writeln!(text, "{file}: {}", content.trim_end());
        }
    }
    Ok(text)
}

/// Three looks at the processors, and the interrupt controllers.
async fn registers(monitor: &mut Monitor) -> String {
    let mut text = String::new();
    let questions = [
        "info status",
        "info registers -a",
        "info cpus",
        "info lapic",
        "info pic",
        "info irq",
        "info registers -a",
        "info lapic",
        "info irq",
        "info registers -a",
        "info lapic",
        "info chardev",
    ];
    for question in questions {
        let answer = monitor.ask(question).await.unwrap_or_else(|error| format!("{error:#}"));
        let _ = writeln!(text, "== {question}\n{answer}");
        if question == "info irq" {
            tokio::time::sleep(BETWEEN).await;
        }
    }
    text
}

/// Each virtio device and each of its queues.
async fn virtio(monitor: &mut Monitor) -> anyhow::Result<String> {
    let mut text = String::new();
    let devices = monitor.execute("x-query-virtio", Value::Null).await?;
    for device in devices.as_array().into_iter().flatten() {
        let path = &device["path"];
        let status = monitor.execute("x-query-virtio-status", json!({ "path": path })).await?;
        let _ = writeln!(text, "== {} {path}\n{status:#}", device["name"]);
        for queue in 0..status["num-vqs"].as_u64().unwrap_or(0) {
            let arguments = json!({ "path": path, "queue": queue });
            let state = monitor.execute("x-query-virtio-queue-status", arguments.clone()).await;
            // A device has more queues than its driver uses.
            let Ok(state) = state else { continue };
            if state["vring-num"] == 0 || state["vring-desc"] == 0 {
                continue;
            }
            let element = monitor.execute("x-query-virtio-queue-element", arguments).await;
            let element = element.map_or_else(|error| format!("{error:#}"), |element| element.to_string());
            let _ = writeln!(text, "queue {queue}: {state}\n  next: {element}");
        }
    }
    Ok(text)
}

/// The stacks of QEMU's own threads.
async fn host_stacks(pid: u32) -> anyhow::Result<String> {
    let mut gdb = Command::new("gdb");
    gdb.args(["-q", "-batch", "-nx", "-p", &pid.to_string(), "-ex", "thread apply all backtrace 30"]);
    debugger(gdb).await
}

/// The stacks of the guest's processors, its clocks, and what its kernel has said, quiet or not.
async fn guest_stacks(
    arguments: &Arguments,
    monitor: &mut Monitor,
    spec: &VmSpec,
    dir: &Path,
) -> anyhow::Result<String> {
    let symbols = arguments.symbols.as_ref().unwrap_or(&spec.boot.kernel);
    // Other guests may hang at the same time.
    let port = (DEBUG_PORT..DEBUG_PORT + 64)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no port is free for the guest's debugger")?;
    monitor.ask(&format!("gdbserver tcp:127.0.0.1:{port}")).await?;
    let target = format!("target remote 127.0.0.1:{port}");
    let log = format!("dump binary value {} __log_buf", dir.join("kernel-log").display());
    let mut gdb = Command::new("gdb");
    gdb.args(["-q", "-batch", "-nx", "-iex", "set auto-load safe-path /", "-ex", &target]);
    for command in [
        "thread apply all backtrace 40",
        "thread apply all info registers",
        "print jiffies_64",
        "print tk_core.timekeeper.tkr_mono.clock->name",
        "print tk_core.timekeeper.tkr_mono",
        "print tk_core.timekeeper.xtime_sec",
        "print tick_next_period",
        "print *global_clock_event",
        "print tsc_khz",
        "print lapic_timer_period",
        "print system_state",
        &log,
        "detach",
    ] {
        gdb.args(["-ex", command]);
    }
    gdb.arg(symbols);
    let text = debugger(gdb).await;
    let _ = monitor.ask("gdbserver none").await;
    // A debugger that was cut off leaves the guest stopped.
    let _ = monitor.execute("cont", Value::Null).await;
    text
}

async fn debugger(mut gdb: Command) -> anyhow::Result<String> {
    gdb.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEBUGGER_DEADLINE, gdb.output())
        .await
        .context("gdb took too long")?
        .context("gdb does not start; install it to see stacks")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(format!("{out}\n{err}"))
}
