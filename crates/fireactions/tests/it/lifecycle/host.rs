//! The host around the servers: what is on it, found by looking and not by asking a server, and what somebody else
//! does to it. Every call is about the calling thread's network namespace.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fireactions_model::MachineId;
use fireactions_testkit::cgroups;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Puts the calling thread into a network namespace of its own; threads and programs that it starts share it.
pub(crate) fn enter_own_namespace() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .expect("a network namespace needs root: run `make test`");
}

/// Numbers and arguments of all processes here. This one's are not among them: its first thread is elsewhere.
pub(crate) fn processes() -> Vec<(i32, Vec<String>)> {
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers
        // A zombie has no namespace any more.
        .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other == own))
        .map(|pid| (pid, arguments(pid)))
        .collect()
}

fn arguments(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The machine whose VMM has these arguments.
fn machine_of(arguments: &[String]) -> Option<MachineId> {
    let name = arguments.iter().find_map(|word| word.strip_prefix("guest=fireactions-"))?;
    MachineId::new(name.split(',').next()?).ok()
}

/// The VMMs that run, by their machines' ids.
pub(crate) fn vmms() -> Vec<(MachineId, i32)> {
    let mut found: Vec<(MachineId, i32)> =
        processes().into_iter().filter_map(|(pid, arguments)| Some((machine_of(&arguments)?, pid))).collect();
    found.sort();
    found
}

/// Whether this process is the machine's VMM and has not ended.
pub(crate) fn runs(machine: &MachineId, pid: u32) -> bool {
    pid.try_into().is_ok_and(|pid| machine_of(&arguments(pid)).as_ref() == Some(machine))
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    // It may have ended just now.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// What a program says here.
pub(crate) fn said(argv: &[&str]) -> String {
    let output = Command::new(argv[0]).args(&argv[1..]).output().unwrap_or_else(|e| panic!("{argv:?}: {e}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Deletes a machine's tap, if it is there.
pub(crate) fn remove_tap(machine: &MachineId) {
    said(&["ip", "link", "delete", &format!("fa{machine}")]);
}

/// As a reload of somebody's firewall does it.
pub(crate) fn flush_rules() {
    said(&["nft", "flush", "ruleset"]);
}

/// What is left on the host of servers that are gone: every line is one thing too many.
pub(crate) fn remains(dir: &Path, cgroup: &str) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(processes().into_iter().map(|(pid, line)| format!("process {pid}: {}", line.join(" "))));
    found.extend(cgroups::below(cgroup).into_iter().map(|path| format!("cgroup {}", path.display())));
    let links = said(&["ip", "-br", "link"]);
    found.extend(links.lines().filter(|line| !line.starts_with("lo ")).map(|line| format!("link {line}")));
    found.extend(said(&["nft", "list", "ruleset"]).lines().map(|line| format!("rule {line}")));
    let run = fs::read_dir(dir.join("run")).unwrap().flatten();
    found.extend(run.map(|entry| format!("run directory {}", entry.path().display())));
    found
}

/// Ends what is left when this process is ended in the middle: VMMs outlive their server, and so they would the test.
pub(crate) struct Janitor(Child);

impl Janitor {
    /// For cgroups whose names begin so. The helper waits in a session of its own for the end of its input.
    pub(crate) fn start(cgroups: &str) -> Self {
        let script = format!(
            "cat >/dev/null; for f in /sys/fs/cgroup/{cgroups}*/*/cgroup.procs /sys/fs/cgroup/*/{cgroups}*/*/cgroup.procs
             do [ ! -e \"$f\" ] || xargs -r kill -9 <\"$f\"; done 2>/dev/null"
        );
        let child = Command::new("setsid").args(["sh", "-c", &script]).stdin(Stdio::piped()).spawn();
        Self(child.expect("setsid (util-linux) is needed"))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Ends and removes by force what a failed case left.
pub(crate) fn clear(cgroup: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let left = vmms();
        if left.is_empty() {
            break;
        }
        for (_, pid) in left {
            signal(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for path in cgroups::below(cgroup).into_iter().chain(cgroups::named(cgroup)) {
        let _ = fs::remove_dir(path);
    }
}
