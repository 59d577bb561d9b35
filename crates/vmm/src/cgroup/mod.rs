//! One cgroup per machine, with limits of memory, CPU time, threads and disk.
//!
//! Hosts differ: cgroup2 only, v1 only, or both with the controllers in either. For each controller the
//! hierarchy that has it is found once; a machine's cgroup is then `PARENT/MACHINE` in each of those. The parent
//! is at the top, beside the service manager's own slices, so that stopping the server's unit leaves the
//! machines alone.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fireactions_model::MachineId;

use crate::VmmError;

mod disk;
mod memory;
mod used;
mod weight;

pub(crate) use disk::DiskLimit;
pub(crate) use memory::Oom;
pub(crate) use used::Used;

/// Limits of one machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes, including what the VMM itself needs.
    pub(crate) memory: u64,
    /// CPU time in thousandths of a core.
    pub(crate) millicores: u64,
    /// Threads and processes.
    pub(crate) tasks: u64,
    /// Of the device that holds the scratch disk.
    pub(crate) disk: Option<DiskLimit>,
}

impl Limits {
    /// The bytes that a machine may hold: the guest's memory, what its VMM needs, and the tables of the guest's pages: the kernel
    /// counts those of the process and those of KVM, 2 MiB each for a GiB that was touched, and as much again as room.
    pub(crate) fn memory_of(guest_mib: u32, vmm_mib: u64) -> u64 {
        (u64::from(guest_mib) + vmm_mib + u64::from(guest_mib) / 128) << 20
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hierarchy {
    V1(PathBuf),
    V2(PathBuf),
}

impl Hierarchy {
    fn root(&self) -> &Path {
        match self {
            Self::V1(root) | Self::V2(root) => root,
        }
    }

    /// What a process writes a 0 into to be in the cgroup `dir`.
    ///
    /// Before it moves a process the kernel holds up every fork and exit of the host, and waits for an RCU grace period
    /// (some 10 ms) to begin with (`cgroup_attach_lock`, `percpu_down_write`), unless what moves is one thread that moves
    /// itself. Version 1 can be asked for that; version 2 moves whole processes only.
    fn door(&self, dir: &Path) -> Result<File, VmmError> {
        let path = dir.join(match self {
            Self::V1(_) => "tasks",
            Self::V2(_) => "cgroup.procs",
        });
        let opened = File::options().write(true).open(&path);
        opened.map_err(|source| VmmError::Cgroup { action: "enter", path, source })
    }
}

/// Where this host's cgroups are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroups {
    parent: String,
    memory: Option<Hierarchy>,
    cpu: Option<Hierarchy>,
    pids: Option<Hierarchy>,
    io: Option<Hierarchy>,
}

impl Cgroups {
    /// Looks at the mounted hierarchies. `parent` is a plain name.
    pub(crate) fn detect(parent: &str) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let usable =
            |controller: &str| find(&mounts, controller).filter(|at| is_usable(at, controller, parent));
        Self {
            parent: parent.to_owned(),
            memory: usable("memory"),
            cpu: usable("cpu"),
            pids: usable("pids"),
            io: usable("io").or_else(|| usable("blkio")),
        }
    }

    /// Controllers that are usable: memory, CPU, pids.
    pub(crate) fn usable(&self) -> [bool; 3] {
        [self.memory.is_some(), self.cpu.is_some(), self.pids.is_some()]
    }

    /// The name of the parent, on a host that has cgroup2 alone.
    pub(crate) fn unified_parent(&self) -> Option<&str> {
        let hierarchies = self.hierarchies();
        let unified = hierarchies.iter().all(|hierarchy| matches!(hierarchy, Hierarchy::V2(_)));
        (unified && !hierarchies.is_empty()).then_some(self.parent.as_str())
    }

    fn hierarchies(&self) -> Vec<&Hierarchy> {
        let mut found: Vec<&Hierarchy> = Vec::new();
        for hierarchy in [&self.memory, &self.cpu, &self.pids, &self.io].into_iter().flatten() {
            if !found.contains(&hierarchy) {
                found.push(hierarchy);
            }
        }
        found
    }

    /// Makes the machine's cgroups with their limits. A process with one thread that writes a 0 into all of the returned files
    /// is in them, and so is all that it starts.
    pub(crate) fn prepare(&self, id: &MachineId, limits: Limits) -> Result<Vec<File>, VmmError> {
        let mut doors = Vec::new();
        for hierarchy in self.hierarchies() {
            let dir = self.make(hierarchy, id)?;
            let write = |file: &str, value: String| write(&dir.join(file), &value);
            if self.memory.as_ref() == Some(hierarchy) {
                match hierarchy {
                    Hierarchy::V1(_) => {
                        write("memory.limit_in_bytes", limits.memory.to_string())?;
                        without_swap(&dir.join("memory.memsw.limit_in_bytes"), limits.memory)?;
                    }
                    Hierarchy::V2(_) => {
                        write("memory.max", limits.memory.to_string())?;
                        without_swap(&dir.join("memory.swap.max"), 0)?;
                        write("memory.oom.group", "1".to_owned())?;
                    }
                }
            }
            if self.cpu.as_ref() == Some(hierarchy) {
                let quota = limits.millicores * 100;
                match hierarchy {
                    Hierarchy::V1(_) => {
                        write("cpu.cfs_period_us", "100000".to_owned())?;
                        write("cpu.cfs_quota_us", quota.to_string())?;
                    }
                    Hierarchy::V2(_) => write("cpu.max", format!("{quota} 100000"))?,
                }
                let parent = hierarchy.root().join(&self.parent);
                weight::set(hierarchy, &parent, weight::machines(&parent));
            }
            if self.pids.as_ref() == Some(hierarchy) {
                write("pids.max", limits.tasks.to_string())?;
            }
            if self.io.as_ref() == Some(hierarchy)
                && let Some(disk) = &limits.disk
            {
                // Not every kind of storage can be limited here; the VMM limits the guest's disk itself.
                if let Err(error) = disk.set(hierarchy, &dir) {
                    tracing::debug!(machine = %id, %error, "the host's disk is not limited by a cgroup");
                }
            }
            doors.push(hierarchy.door(&dir)?);
        }
        Ok(doors)
    }

    fn make(&self, hierarchy: &Hierarchy, id: &MachineId) -> Result<PathBuf, VmmError> {
        let parent = hierarchy.root().join(&self.parent);
        let dir = parent.join(id.as_str());
        let failed = |source| VmmError::Cgroup { action: "make", path: dir.clone(), source };
        // `remove` of another machine may take the empty parent away in between.
        let mut tries = 0;
        loop {
            std::fs::create_dir_all(&parent).map_err(failed)?;
            if let Hierarchy::V2(root) = hierarchy {
                let controllers =
                    [("memory", &self.memory), ("cpu", &self.cpu), ("pids", &self.pids), ("io", &self.io)];
                for (controller, at) in controllers {
                    if at.as_ref() == Some(hierarchy) {
                        // When it fails because the parent has just gone, making the child below fails too.
                        let _ = delegate(root, &parent, controller);
                    }
                }
            }
            match std::fs::create_dir(&dir) {
                Ok(()) => return Ok(dir),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(dir),
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < 10 => tries += 1,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Machines that have a cgroup in any hierarchy.
    pub(crate) fn machines(&self) -> BTreeSet<MachineId> {
        let parents = self.hierarchies().into_iter().map(|hierarchy| hierarchy.root().join(&self.parent));
        let entries = parents.flat_map(|parent| std::fs::read_dir(parent).into_iter().flatten().flatten());
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.filter_map(|entry| MachineId::new(entry.file_name().to_str()?).ok()).collect()
    }

    /// Processes in any of the machine's cgroups. A guest that has taken its VMM over can hide the mark on its
    /// command line, but not leave these. 0 stands for one that this process cannot see.
    pub(crate) fn members(&self, id: &MachineId) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        for hierarchy in self.hierarchies() {
            let file = self.dir(hierarchy, id).join("cgroup.procs");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        found
    }

    /// What the memory controller says of the machine.
    pub(crate) fn oom(&self, id: &MachineId) -> Oom {
        match &self.memory {
            Some(hierarchy @ Hierarchy::V1(_)) => Oom::v1(&self.dir(hierarchy, id)),
            Some(hierarchy @ Hierarchy::V2(_)) => Oom::v2(&self.dir(hierarchy, id)),
            None => Oom::default(),
        }
    }

    /// What the machine uses now, as far as controllers count it.
    pub(crate) fn used(&self, id: &MachineId) -> Used {
        Used {
            memory: self.memory.as_ref().and_then(|at| used::memory(at, &self.dir(at, id))),
            cpu: self.cpu.as_ref().and_then(|at| used::cpu(at, &self.dir(at, id))),
        }
    }

    fn dir(&self, hierarchy: &Hierarchy, id: &MachineId) -> PathBuf {
        hierarchy.root().join(&self.parent).join(id.as_str())
    }

    /// Removes the machine's cgroups. The kernel refuses while the last thread is still being torn down, which is
    /// why this tries for two seconds.
    pub(crate) async fn remove(&self, id: &MachineId) -> Result<(), VmmError> {
        for hierarchy in self.hierarchies() {
            let parent = hierarchy.root().join(&self.parent);
            let dir = parent.join(id.as_str());
            let mut wait = Duration::from_millis(1);
            loop {
                match std::fs::remove_dir(&dir) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(_) if wait < Duration::from_secs(1) => {
                        tokio::time::sleep(wait).await;
                        wait *= 2;
                    }
                    Err(source) => return Err(VmmError::Cgroup { action: "remove", path: dir, source }),
                }
            }
            // Refused, rightly, while it holds another machine.
            let _ = std::fs::remove_dir(&parent);
        }
        Ok(())
    }
}

fn write(path: &Path, value: &str) -> Result<(), VmmError> {
    let result = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    result.map_err(|source| VmmError::Cgroup { action: "write", path: path.to_owned(), source })
}

/// Memory that is limited is not to go on in the host's swap, which is everybody's. A kernel without swap, or that does not
/// count it, has no such file.
fn without_swap(file: &Path, limit: u64) -> Result<(), VmmError> {
    if file.exists() { write(file, &limit.to_string()) } else { Ok(()) }
}

/// Tried rather than asked: a read-only mount, a container's namespace and a missing right all look different.
fn is_usable(hierarchy: &Hierarchy, controller: &str, parent: &str) -> bool {
    let dir = hierarchy.root().join(parent);
    let made = std::fs::create_dir_all(&dir).is_ok();
    let usable = made
        && match hierarchy {
            Hierarchy::V1(_) => rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK).is_ok(),
            Hierarchy::V2(root) => delegate(root, &dir, controller).is_ok(),
        };
    let _ = std::fs::remove_dir(&dir);
    usable
}

/// cgroup2 gives a controller to children only where `cgroup.subtree_control` of every level above says so.
fn delegate(root: &Path, parent: &Path, controller: &str) -> Result<(), VmmError> {
    for level in [root, parent] {
        write(&level.join("cgroup.subtree_control"), &format!("+{controller}"))?;
    }
    Ok(())
}

/// The hierarchy of a controller, from the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn find(mounts: &str, controller: &str) -> Option<Hierarchy> {
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(at) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
        let mut right = right.split(' ');
        let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
        match kind {
            Some("cgroup") if options.split(',').any(|option| option == controller) => {
                return Some(Hierarchy::V1(at));
            }
            Some("cgroup2") if controllers(&at).contains(controller) => return Some(Hierarchy::V2(at)),
            _ => {}
        }
    }
    None
}

fn controllers(root: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn controllers_are_found_in_either_version() {
        let v2 = tempfile::tempdir().unwrap();
        std::fs::write(v2.path().join("cgroup.controllers"), "cpuset cpu io pids\n").unwrap();
        let mounts = format!(
            "30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             31 24 0:27 / {} rw,relatime shared:4 - cgroup2 cgroup2 rw\n\
             32 24 0:28 / /proc rw - proc proc rw\n",
            v2.path().display()
        );
        assert_eq!(find(&mounts, "memory"), Some(Hierarchy::V1("/sys/fs/cgroup/memory".into())));
        assert_eq!(find(&mounts, "cpu"), Some(Hierarchy::V2(v2.path().to_owned())));
        assert_eq!(find(&mounts, "hugetlb"), None);
    }

    /// A hierarchy of files that take whatever is written: no host has its controllers in both versions.
    fn hierarchy(id: &MachineId, files: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("parent").join(id.as_str());
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(root.path().join("cgroup.subtree_control"), "").unwrap();
        std::fs::write(root.path().join("parent/cgroup.subtree_control"), "").unwrap();
        for file in files {
            std::fs::write(dir.join(file), "").unwrap();
        }
        (root, dir)
    }

    #[test]
    fn a_machine_is_limited_in_the_words_of_either_version() {
        let id = MachineId::from_random([7; 8]);
        let limits = Limits { memory: 64 << 20, millicores: 1500, tasks: 129, disk: None };
        let v2 = [
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("cpu.max", "150000 100000"),
            ("pids.max", "129"),
        ];
        let v1 = [
            ("memory.limit_in_bytes", "67108864"),
            ("memory.memsw.limit_in_bytes", "67108864"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "150000"),
            ("pids.max", "129"),
        ];
        for (expected, version, door_name) in [
            (v2, Hierarchy::V2 as fn(PathBuf) -> Hierarchy, "cgroup.procs"),
            (v1, Hierarchy::V1 as fn(PathBuf) -> Hierarchy, "tasks"),
        ] {
            let (root, dir) = hierarchy(&id, &expected.map(|(file, _)| file));
            std::fs::write(dir.join(door_name), "").unwrap();
            let at = Some(version(root.path().to_owned()));
            let cgroups = Cgroups {
                parent: "parent".to_owned(),
                memory: at.clone(),
                cpu: at.clone(),
                pids: at.clone(),
                io: at.clone(),
            };
            let doors = cgroups.prepare(&id, limits).unwrap();
            let [door] = doors.as_slice() else { panic!("{doors:?}") };
            let link = std::fs::read_link(format!("/proc/self/fd/{}", door.as_raw_fd())).unwrap();
            assert_eq!(link, dir.join(door_name));
            for (file, value) in expected {
                assert_eq!(std::fs::read_to_string(dir.join(file)).unwrap(), value, "{file}");
            }
            // Each line is one write to the file; here the latest stays, below what the parent has.
            let delegated =
                ["", "parent"].map(|level| root.path().join(level).join("cgroup.subtree_control"));
            let delegated = delegated.map(|file| std::fs::read_to_string(file).unwrap());
            let expected = if matches!(at, Some(Hierarchy::V2(_))) { "+io" } else { "" };
            assert!(delegated.iter().all(|text| text.starts_with(expected)), "{delegated:?}");
            assert_eq!(delegated[0].is_empty(), expected.is_empty());
        }
    }
}
