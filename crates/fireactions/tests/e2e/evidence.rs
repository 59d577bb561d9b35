//! What a failed test leaves behind for whoever looks into it: `target/failed/TEST/`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use fireactions_testkit::qmp::Monitor;

use crate::world::{World, text};

/// What is asked of each QEMU, by its own commands.
const ASKED: [&str; 6] = ["status", "cpus", "registers -a", "lapic", "pic", "irq"];

/// Larger files of the state directory are images and memories of guests, and say nothing that one could read.
const LARGEST: u64 = 4 << 20;

/// Keeps what can be had of a world whose server was just killed and whose machines still run. Says where.
pub(crate) fn keep(world: &World) {
    let dir = directory();
    match kept(world, &dir) {
        Ok(()) => eprintln!("kept: log, consoles, processes, rules and state in {}", dir.display()),
        Err(error) => eprintln!("not all could be kept in {}: {error}", dir.display()),
    }
}

/// Of this test; a world that it failed with before keeps its own.
fn directory() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/failed");
    let named = std::env::var("NEXTEST_TEST_NAME").ok();
    let name = named.or_else(|| std::thread::current().name().map(str::to_owned));
    let name = name.unwrap_or_else(|| "unnamed".to_owned()).replace("::", ".");
    let places = (1..100).map(|n| if n == 1 { root.join(&name) } else { root.join(format!("{name}-{n}")) });
    let _ = fs::create_dir_all(&root);
    places.into_iter().find(|dir| fs::create_dir(dir).is_ok()).unwrap_or(root)
}

fn kept(world: &World, dir: &Path) -> std::io::Result<()> {
    let run = |command: &[&str]| {
        let output = world.in_namespace(command);
        text(&output.stdout) + &text(&output.stderr)
    };
    fs::write(dir.join("rules"), run(&["nft", "list", "ruleset"]))?;
    fs::write(dir.join("links"), run(&["ip", "-d", "address"]))?;
    fs::write(dir.join("mounts"), world.namespace.new_mounts().join("\n"))?;
    fs::write(dir.join("processes"), processes(world))?;
    for name in ["server.log", "config.yaml"] {
        if world.path(name).exists() {
            fs::copy(world.path(name), dir.join(name))?;
        }
    }
    copy_small(&world.path("state"), &dir.join("state"))?;
    for machine in fs::read_dir(world.path("state/run"))?.flatten() {
        let socket = machine.path().join("qmp.sock");
        if socket.exists() {
            let said = monitor(&socket).unwrap_or_else(|error| format!("no answer: {error}\n"));
            fs::write(dir.join("state/run").join(machine.file_name()).join("qmp"), said)?;
        }
    }
    Ok(())
}

/// Each process with its state, what it waits for in the kernel, and each of its threads.
fn processes(world: &World) -> String {
    let mut all = String::new();
    for (pid, line) in world.all_processes() {
        let _ = writeln!(all, "{pid} {line}");
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let status = read("status");
            let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
            let thread_id = thread.file_name();
            let _ = writeln!(
                all,
                "    {} {} {state} {}\n{}",
                thread_id.display(),
                read("comm").trim(),
                read("wchan"),
                read("stack")
            );
        }
    }
    all
}

/// The files that a person can read, in the same directories.
fn copy_small(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)?.flatten() {
        let (Ok(kind), target) = (entry.file_type(), to.join(entry.file_name())) else { continue };
        if kind.is_dir() {
            copy_small(&entry.path(), &target)?;
        } else if kind.is_file() && entry.metadata().is_ok_and(|of| of.len() <= LARGEST) {
            // It may go while it is copied.
            let _ = fs::copy(entry.path(), target);
        }
    }
    Ok(())
}

/// What QEMU says of its machine. It talks to one client at a time: to the server, until that was killed.
fn monitor(socket: &Path) -> std::io::Result<String> {
    let asking = async {
        let mut monitor = Monitor::connect(socket).await?;
        let mut said = String::new();
        for asked in ASKED {
            let line = format!("info {asked}");
            let answer = monitor.ask(&line).await.unwrap_or_else(|error| error.to_string());
            let _ = writeln!(said, "== {line}\n{answer}");
        }
        for event in monitor.events() {
            let _ = writeln!(said, "{event}");
        }
        Ok(said)
    };
    // On a thread that is in no runtime, as this one may be.
    std::thread::scope(|scope| {
        let ask = || tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asking);
        let asked = scope.spawn(ask).join();
        asked.unwrap_or_else(|_| Err(std::io::Error::other("the thread that asks panicked")))
    })
}
