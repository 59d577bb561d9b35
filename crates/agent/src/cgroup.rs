//! One control group for the job and one for each exec, so that all their processes can be counted, bounded and
//! killed.
//!
//! Without cgroup2 in the guest's kernel everything still works by process group and by a walk through `/proc`; only
//! the counts are coarser.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Ours, beside whatever the image's init or a container engine makes.
const TOP: &str = "/sys/fs/cgroup/fireactions";

/// However small the machine, a shell and its tools can run.
const FEWEST_PROCESSES: u64 = 64;

/// Control groups below a job's that are looked at. A container engine makes a few for each container.
const MOST_GROUPS: usize = 4096;

/// A killed process is gone at once unless it waits for a disk.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// A control group; removed by [`Self::end`].
pub(crate) struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// Makes the group, or finds that this kernel has none.
    pub(crate) fn create(name: &str) -> Option<Self> {
        let dir = Path::new(TOP).join(name);
        std::fs::create_dir_all(&dir).ok()?;
        for parent in [Path::new("/sys/fs/cgroup"), Path::new(TOP)] {
            for controller in ["+memory", "+cpu", "+pids"] {
                // One that this kernel lacks costs its count, nothing more.
                let _ = std::fs::write(parent.join("cgroup.subtree_control"), controller);
            }
        }
        dir.join("cgroup.procs").exists().then_some(Self { dir })
    }

    /// Lets it have at most half of the processes and threads that this kernel can have at all, which it reckons by its
    /// memory: a job that forks without end runs into this bound, not the agent into the kernel's.
    pub(crate) fn limit_processes(&self) {
        let read = |file: &str| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
        let bounds = ["/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max"];
        if let Some(most) = bounds.into_iter().filter_map(read).min() {
            // Without the controller there is no bound, as in a kernel without cgroups.
            let _ = std::fs::write(self.dir.join("pids.max"), (most / 2).max(FEWEST_PROCESSES).to_string());
        }
    }

    /// How often a process or thread could not be started for its bound, and the bound; `None` when none was refused.
    pub(crate) fn refused_forks(&self) -> Option<(u64, u64)> {
        let refused = self.field("pids.events", "max").filter(|count| *count > 0)?;
        let max = std::fs::read_to_string(self.dir.join("pids.max")).ok()?;
        Some((refused, max.trim().parse().ok()?))
    }

    /// The group's directory, for a process that enters by itself.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sends `signal` to each process of the group and of the groups below it, which a container engine or a service
    /// manager makes. One that forks at the same moment may be missed.
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            send(pid, signal);
        }
    }

    /// Kills all processes and waits until they are gone. Returns false when some are not.
    pub(crate) fn kill(&self) -> bool {
        let end = Instant::now() + KILL_DEADLINE;
        let mut pause = Duration::from_millis(1);
        loop {
            // At once and for ever, also for what forks meanwhile; since Linux 5.14.
            if std::fs::write(self.dir.join("cgroup.kill"), "1").is_err() {
                self.signal(Signal::SIGKILL);
            }
            if !self.populated() {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Kills what is left and removes the group, with the groups below it.
    pub(crate) fn end(self) {
        self.kill();
        for dir in self.groups().into_iter().rev() {
            let _ = std::fs::remove_dir(dir);
        }
    }

    /// CPU time of all processes that were ever in it: user and kernel, microseconds.
    pub(crate) fn cpu_us(&self) -> Option<(u64, u64)> {
        Some((self.field("cpu.stat", "user_usec")?, self.field("cpu.stat", "system_usec")?))
    }

    /// Processes of it that the kernel killed for memory.
    pub(crate) fn oom_kills(&self) -> Option<u64> {
        self.field("memory.events", "oom_kill")
    }

    fn populated(&self) -> bool {
        self.field("cgroup.events", "populated").is_some_and(|count| count != 0)
    }

    fn pids(&self) -> Vec<i32> {
        let mut pids = Vec::new();
        for dir in self.groups() {
            let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        pids
    }

    /// This group and those below it, each before its own.
    fn groups(&self) -> Vec<PathBuf> {
        let mut found = vec![self.dir.clone()];
        let mut looked = 0;
        while looked < found.len() && found.len() < MOST_GROUPS {
            let entries = std::fs::read_dir(&found[looked]).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            found.extend(below.map(|entry| entry.path()));
            looked += 1;
        }
        found
    }

    fn field(&self, file: &str, name: &str) -> Option<u64> {
        flat_field(&std::fs::read_to_string(self.dir.join(file)).ok()?, name)
    }
}

/// Processes that the kernel has killed for memory in the whole guest since its boot: also those that had moved out of their job's
/// group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OomKills {
    pub(crate) all: u64,
    /// How often a group, or one below it, was at a memory limit of its own: a container's, say.
    pub(crate) at_limits: u64,
}

impl OomKills {
    pub(crate) fn now() -> Self {
        let read = |path: &Path, name: &str| flat_field(&std::fs::read_to_string(path).ok()?, name);
        // The counts of groups that are gone are in those above them.
        let groups = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        Self {
            all: read(Path::new("/proc/vmstat"), "oom_kill").unwrap_or(0),
            at_limits: groups.filter_map(|group| read(&group.path().join("memory.events"), "oom")).sum(),
        }
    }

    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            at_limits: self.at_limits.saturating_sub(before.at_limits),
        }
    }
}

/// Kills every process but PID 1, kernel threads and execs: what a job has left outside its group (a container
/// engine's children, say). Only for an agent that is PID 1: beside an image's init these are that init's.
pub(crate) fn kill_strays() {
    // Each round finds what the last one's victims forked; a fork bomb that outruns this dies with the machine.
    for _ in 0..10 {
        let strays: Vec<i32> = processes().filter(|pid| is_stray(*pid)).collect();
        if strays.is_empty() {
            return;
        }
        for pid in strays {
            send(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn processes() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
}

fn is_stray(pid: i32) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    // After the name, which may hold anything: state, ppid, pgrp, session, tty, tpgid, flags (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let (Some(state), Some(flags)) =
        (fields.first(), fields.get(6).and_then(|text| text.parse::<u64>().ok()))
    else {
        return false;
    };
    // PF_KTHREAD of linux/sched.h
    let kernel_thread = flags & 0x0020_0000 != 0;
    let dead = matches!(*state, "Z" | "X");
    pid != 1 && !kernel_thread && !dead && !read("cgroup").contains(":/fireactions/exec")
}

fn send(pid: i32, signal: Signal) {
    // 0 and below would mean groups, or everything.
    if pid > 1 {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
    }
}

/// `name value` lines, as in cgroup2's flat keyed files and `/proc/vmstat`.
fn flat_field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a group with one below it, in a kernel that cannot kill a group at once.
    #[test]
    fn the_groups_below_are_signalled_and_go_too() {
        let dir = tempfile::tempdir().unwrap();
        let group = Cgroup { dir: dir.path().join("job") };
        let below = group.dir.join("system.slice/docker-1.scope");
        std::fs::create_dir_all(&below).unwrap();
        let mut children: Vec<_> =
            (0..2).map(|_| std::process::Command::new("sleep").arg("600").spawn().unwrap()).collect();
        for (dir, child) in [&group.dir, &below].into_iter().zip(&children) {
            std::fs::write(dir.join("cgroup.procs"), format!("{}\n", child.id())).unwrap();
        }
        group.signal(Signal::SIGTERM);
        for child in &mut children {
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(child.wait().unwrap().signal(), Some(15));
        }

        let mut late = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        std::fs::write(below.join("cgroup.procs"), format!("{}\n", late.id())).unwrap();
        std::fs::write(group.dir.join("cgroup.procs"), "").unwrap();
        // What cannot be written to.
        std::fs::create_dir(group.dir.join("cgroup.kill")).unwrap();
        assert!(group.kill());
        late.wait().unwrap();

        // The kernel's own files go with their directories.
        for dir in [&group.dir, &below] {
            std::fs::remove_file(dir.join("cgroup.procs")).unwrap();
        }
        let top = group.dir.clone();
        group.end();
        assert!(!top.exists());
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_x 1\noom_kill 7\nlow 0\n";
        assert_eq!(flat_field(text, "oom_kill"), Some(7));
        assert_eq!(flat_field(text, "oom"), None);
    }
}
