//! Disks of machines, without machines.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fireactions_volumes::{Limits, Name, Volumes, Writer};

/// Size of disks.
pub(crate) const MIB: u32 = 16;

pub(crate) fn name(owner: &str, key: &str) -> Name {
    Name { owner: owner.into(), key: key.into() }
}

pub(crate) fn writer(job: &str) -> Writer {
    Writer { job: job.into(), owner: 7 }
}

/// Keeps nothing of the host's disk free.
pub(crate) fn limits() -> Limits {
    Limits { free: 0, ..Limits::default() }
}

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) volumes: Volumes,
}

impl World {
    pub(crate) fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(&dir.path().join("sticky"), limits).unwrap();
        Self { dir, volumes }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("sticky")
    }

    /// The disk of a machine whose job has written this.
    pub(crate) fn disk(&self, content: &[u8]) -> PathBuf {
        disk(self.dir.path(), content)
    }

    /// What a machine finds.
    pub(crate) fn found(&self, name: &Name) -> Option<Vec<u8>> {
        let dest = self.dir.path().join("copy");
        let taken = self.volumes.take(name, MIB, &dest, own()).unwrap();
        taken.map(|_| {
            assert_eq!(fs::metadata(&dest).unwrap().len(), u64::from(MIB) << 20);
            content(&dest)
        })
    }
}

pub(crate) fn disk(dir: &Path, content: &[u8]) -> PathBuf {
    let path = dir.join("disk");
    let file = File::create(&path).unwrap();
    file.set_len(u64::from(MIB) << 20).unwrap();
    // Somewhere in the middle of a hole.
    file.write_all_at(content, 5 << 20).unwrap();
    path
}

/// What stands on a disk.
pub(crate) fn content(disk: &Path) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    File::open(disk).unwrap().read_exact_at(&mut bytes, 5 << 20).unwrap();
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// Whoever runs the test.
pub(crate) fn own() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Every file below a directory.
pub(crate) fn files(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(top).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found.sort();
    found
}
