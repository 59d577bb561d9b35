//! Control groups of machines, as they are found on a host without asking their server: for whoever looks at what is left.

use std::path::{Path, PathBuf};

/// The directories right below the cgroup `parent`, one for each machine and hierarchy: cgroup2 and every v1
/// hierarchy that is mounted here. Sorted.
pub fn below(parent: &str) -> Vec<PathBuf> {
    let parents = hierarchies().into_iter().map(|root| root.join(parent));
    let entries = parents.flat_map(|parent| std::fs::read_dir(parent).into_iter().flatten().flatten());
    // Not `is_dir` of the path: the files of a cgroup that goes away are no reason to fail.
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut found: Vec<PathBuf> = dirs.map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Processes of the machines in the cgroup `parent`, with their command lines, wherever their network is.
pub fn processes(parent: &str) -> Vec<(i32, String)> {
    let lists = below(parent).into_iter().map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")));
    let mut pids: Vec<i32> = lists
        .flatten()
        .flat_map(|list| list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    pids.sort_unstable();
    pids.dedup();
    let named = pids.into_iter().filter_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    named.collect()
}

/// The cgroup `parent` itself, in each hierarchy that has it.
pub fn named(parent: &str) -> Vec<PathBuf> {
    hierarchies().into_iter().map(|root| root.join(parent)).filter(|path| path.is_dir()).collect()
}

/// Where hierarchies are mounted (proc_pid_mounts(5): device, directory, type).
fn hierarchies() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup").then(|| Path::new(path).to_owned())
    });
    mounted.collect()
}
