//! The machines' share of a busy host's processors.
//!
//! To the scheduler a cgroup is one competitor beside each other process or cgroup of its level, whatever is in it. Left at
//! that, twenty guests together get the time of one compiler, and each of them waits for a tenth of a second at a time. A
//! guest that waits so long just while its kernel measures its timer has none (`crates/agent/src/timer.rs`). So the
//! parent counts as much as the machines in it, up to the number of processors.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Hierarchy;

/// It counts as no more than there are processors: beyond that guests wait for each other, and whatever else the host
/// serves, the server among it, must get through.
fn most() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(processors).unwrap_or(u32::MAX).min(100)
}

/// Gives the parent the weight of this many processes.
pub(super) fn set(hierarchy: &Hierarchy, parent: &Path, machines: u32) {
    let (file, of_one) = match hierarchy {
        Hierarchy::V1(_) => ("cpu.shares", 1024),
        Hierarchy::V2(_) => ("cpu.weight", 100),
    };
    let value = of_one * machines.clamp(1, most());
    // It may have gone with its last machine, and without it a machine is only slower.
    if let Err(error) = super::write(&parent.join(file), &value.to_string()) {
        tracing::debug!(%error, "the machines count as one process");
    }
}

/// How many machines are in it: each directory in it is a link to it (`..`), beside its name and its own `.`.
pub(super) fn machines(parent: &Path) -> u32 {
    let links = std::fs::metadata(parent).map_or(0, |parent| parent.nlink());
    u32::try_from(links.saturating_sub(2)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_counts_as_its_machines_up_to_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let weight = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
        for file in ["cpu.shares", "cpu.weight"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        for machine in 0..3 {
            std::fs::create_dir(dir.path().join(format!("m{machine}"))).unwrap();
        }
        assert_eq!(machines(dir.path()), 3);
        set(&Hierarchy::V1("/".into()), dir.path(), 0);
        assert_eq!(weight("cpu.shares"), "1024");
        set(&Hierarchy::V1("/".into()), dir.path(), most().min(2));
        assert_eq!(weight("cpu.shares"), (1024 * most().min(2)).to_string());
        set(&Hierarchy::V2("/".into()), dir.path(), 1000);
        assert_eq!(weight("cpu.weight"), (100 * most()).to_string());
        assert_eq!(machines(&dir.path().join("none")), 0);
    }
}
