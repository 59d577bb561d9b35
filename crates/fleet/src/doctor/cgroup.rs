//! Control groups.

use std::collections::BTreeSet;
use std::path::Path;

use super::checks::CGROUP;
use super::{Finding, look};

pub(super) fn all() -> Vec<Finding> {
    vec![judge(&Mounted::at(Path::new("/sys/fs/cgroup")))]
}

/// Without the first three a machine can take the host from the others; io is for disk limits.
const WANTED: [(&str, &str); 4] = [("memory", "memory"), ("cpu", "cpu"), ("pids", "pids"), ("io", "blkio")];

const ADVICE: &str = "boot the host with systemd.unified_cgroup_hierarchy=1 and no cgroup_disable=; in a container, run it with its own cgroup namespace, writable";

/// Controllers by hierarchy. cgroup2 is recognized by its `cgroup.controllers` (cgroups(7)), a v1 controller by its
/// directory.
struct Mounted {
    v2: Option<BTreeSet<String>>,
    /// The second hierarchy of a host that has v1's controllers beside cgroup2.
    hybrid: Option<BTreeSet<String>>,
    v1: BTreeSet<String>,
}

impl Mounted {
    fn at(mount: &Path) -> Self {
        let controllers = |dir: &Path| -> Option<BTreeSet<String>> {
            Some(look::text(dir.join("cgroup.controllers"))?.split_whitespace().map(str::to_owned).collect())
        };
        let v1 = WANTED.iter().filter(|(_, v1)| mount.join(v1).join("cgroup.procs").exists());
        Self {
            v2: controllers(mount),
            hybrid: controllers(&mount.join("unified")),
            v1: v1.map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}

fn judge(mounted: &Mounted) -> Finding {
    let none = BTreeSet::new();
    let (name, has): (&str, BTreeSet<&String>) = match mounted {
        Mounted { v2: Some(has), .. } => ("version 2", has.iter().collect()),
        Mounted { hybrid: Some(unified), v1, .. } => {
            ("version 1 beside 2 (hybrid)", v1.union(unified).collect())
        }
        Mounted { v1, .. } => ("version 1", v1.union(&none).collect()),
    };
    let missing: Vec<&str> =
        WANTED.into_iter().map(|(name, _)| name).filter(|name| !has.iter().any(|has| has == name)).collect();
    match missing.as_slice() {
        [] if mounted.v2.is_some() => Finding::ok(&CGROUP, format!("{name} with memory, cpu, pids and io")),
        [] => Finding::ok(
            &CGROUP,
            format!("{name} with memory, cpu, pids and blkio; version 2 limits writes better"),
        ),
        missing if missing.len() == WANTED.len() => {
            Finding::warning(&CGROUP, "no control groups: machines are not limited from outside", ADVICE)
        }
        missing => Finding::warning(
            &CGROUP,
            format!("{name} without {}: machines are not limited in these from outside", missing.join(", ")),
            ADVICE,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Severity::{Ok, Warning};
    use super::*;

    #[test]
    fn control_groups_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let of = || {
            let finding = judge(&Mounted::at(dir.path()));
            (finding.severity, finding.found)
        };
        let (severity, found) = of();
        assert!(severity == Warning && found.starts_with("no control groups"), "{found}");

        for name in ["memory", "pids", "cpu", "blkio"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("cgroup.procs"), "1\n").unwrap();
        }
        let (severity, found) = of();
        assert!(severity == Ok && found.starts_with("version 1 with memory, cpu, pids and blkio"), "{found}");

        fs::remove_file(dir.path().join("blkio/cgroup.procs")).unwrap();
        fs::create_dir(dir.path().join("unified")).unwrap();
        fs::write(dir.path().join("unified/cgroup.controllers"), "io\n").unwrap();
        let (severity, found) = of();
        assert!(severity == Ok && found.starts_with("version 1 beside 2"), "{found}");

        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io\n").unwrap();
        let (severity, found) = of();
        assert!(severity == Warning && found.starts_with("version 2 without memory, pids"), "{found}");
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        assert_eq!(of(), (Ok, "version 2 with memory, cpu, pids and io".to_owned()));
    }
}
