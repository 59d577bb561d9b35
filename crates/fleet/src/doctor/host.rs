//! The host itself: rights, control groups, memory.

use std::fs;
use std::path::Path;

use fireactions_config::Host;
use rustix::process::geteuid;

use super::Finding;

pub(super) fn root() -> Finding {
    if geteuid().is_root() {
        return Finding::ok("root", "running as root");
    }
    Finding::warning(
        "root",
        format!("running as uid {}", geteuid().as_raw()),
        "the server needs root, and some checks here say less without: run `sudo fireactions doctor`",
    )
}

/// cgroup2 is recognized by its `cgroup.controllers` (cgroups(7)).
pub(super) fn cgroup() -> Finding {
    cgroup_at(Path::new("/sys/fs/cgroup"))
}

fn cgroup_at(mount: &Path) -> Finding {
    let wanted = ["memory", "pids", "cpu"];
    let (version, has): (_, Vec<String>) =
        if let Ok(list) = fs::read_to_string(mount.join("cgroup.controllers")) {
            ("2", list.split_whitespace().map(str::to_owned).collect())
        } else {
            let v1 = wanted.iter().filter(|name| mount.join(name).is_dir()).map(|name| (*name).to_owned());
            ("1", v1.collect())
        };
    let missing: Vec<&str> = wanted.into_iter().filter(|name| !has.iter().any(|has| has == name)).collect();
    if missing.is_empty() {
        return Finding::ok("cgroup", format!("version {version} with memory, pids and cpu"));
    }
    if has.is_empty() {
        return Finding::warning(
            "cgroup",
            "no control groups",
            "machines are not limited from outside; mount cgroup2 at /sys/fs/cgroup (systemd does)",
        );
    }
    Finding::warning(
        "cgroup",
        format!("version {version} without {}", missing.join(", ")),
        "machines are not limited in these; boot with cgroup2 (systemd.unified_cgroup_hierarchy=1) and all controllers",
    )
}

pub(super) fn memory() -> Finding {
    let host = Host::detect();
    let cpus = host.vcpus.map_or_else(|| "unknown".to_owned(), |cpus| cpus.to_string());
    match host.memory_mib {
        Some(mib) if mib < 1024 => Finding::warning(
            "size",
            format!("{cpus} CPUs, {mib} MiB memory"),
            "a machine needs its memory and about 64 MiB beside: expect one or two at once",
        ),
        Some(mib) => Finding::ok("size", format!("{cpus} CPUs, {mib} MiB memory")),
        None => Finding::warning(
            "size",
            "/proc/meminfo cannot be read",
            "set host.memory_mib in the configuration",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn control_groups_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(cgroup_at(dir.path()).found, "no control groups");

        for name in ["memory", "pids", "cpu"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(cgroup_at(dir.path()).found, "version 1 with memory, pids and cpu");

        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io\n").unwrap();
        let finding = cgroup_at(dir.path());
        assert_eq!(
            (finding.severity, finding.found.as_str()),
            (Severity::Warning, "version 2 without memory, pids")
        );
    }
}
