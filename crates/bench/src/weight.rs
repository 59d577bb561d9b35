//! The processor weight that the server's systemd unit gives it (`CPUWeight=1000`), where no service manager does.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Beside the machines' cgroup, as the unit's is.
const NAME: &str = "fireactions-bench-server";

/// The cgroup of servers, in the hierarchy that shares out the processors.
pub(crate) struct Weight(PathBuf);

impl Weight {
    /// Makes it, if it is not there.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let (root, file, weight) = hierarchy().context("no cgroup hierarchy shares out the processors")?;
        let dir = root.join(NAME);
        if file == "cpu.weight" {
            write(&root.join("cgroup.subtree_control"), "+cpu")?;
        }
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        write(&dir.join(file), weight)?;
        Ok(Self(dir))
    }

    /// Puts a process into it, with all that it will start.
    pub(crate) fn give(&self, pid: u32) -> anyhow::Result<()> {
        write(&self.0.join("cgroup.procs"), &pid.to_string())
    }

    /// Removes it, unless another server is in it.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Where it is mounted, and what says a weight there, ten times a process's.
fn hierarchy() -> Option<(PathBuf, &'static str, &'static str)> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let root = PathBuf::from(left.split(' ').nth(4)?);
        let mut right = right.split(' ');
        match (right.next()?, right.nth(1)?) {
            ("cgroup", options) if options.split(',').any(|option| option == "cpu") => {
                Some((root, "cpu.shares", "10240"))
            }
            ("cgroup2", _) => {
                let controllers = fs::read_to_string(root.join("cgroup.controllers")).ok()?;
                let has = controllers.split_whitespace().any(|controller| controller == "cpu");
                has.then_some((root, "cpu.weight", "1000"))
            }
            _ => None,
        }
    })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
