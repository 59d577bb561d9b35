//! The cache's directory.
//!
//! ```text
//! ROOT/secret                       what tokens are made from
//! ROOT/uploads/ID[.ordered]         what comes in; emptied at each start
//! ROOT/bucket/ID                    uploads to a bucket that are under way
//! ROOT/entries/REPOSITORY/ID        finished entries; the time of change is that of the last use
//! ```

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::entry_file::Label;
use crate::hex::hex;
use crate::index::{Entry, EntryId};
use crate::{CacheError, Repository};

#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Held while a repository's directory is made and filled, or taken away: neither comes in between the other's steps.
    directories: Arc<Mutex<()>>,
}

impl Disk {
    /// Makes the directory, if need be, and empties its part for uploads: nobody goes on with those.
    pub(crate) fn open(root: &Path) -> Result<Self, CacheError> {
        let disk = Self { root: root.to_owned(), directories: Arc::default() };
        for dir in [root.to_owned(), disk.uploads(), disk.entries()] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(CacheError::io("make", &dir))?;
        }
        let uploads = disk.uploads();
        for left in fs::read_dir(&uploads).map_err(CacheError::io("read", &uploads))? {
            let path = left.map_err(CacheError::io("read", &uploads))?.path();
            fs::remove_file(&path).map_err(CacheError::io("remove", &path))?;
        }
        Ok(disk)
    }

    fn directories(&self) -> MutexGuard<'_, ()> {
        // It guards files, not memory: a panic leaves nothing half-done behind it.
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn secret(&self) -> PathBuf {
        self.root.join("secret")
    }

    /// Uploads to a bucket that have begun.
    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("bucket")
    }

    fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    fn entries(&self) -> PathBuf {
        self.root.join("entries")
    }

    pub(crate) fn upload(&self, id: u64) -> PathBuf {
        self.uploads().join(name(id))
    }

    /// Where an upload's content is put in order, if it must be.
    pub(crate) fn ordered(&self, id: u64) -> PathBuf {
        self.upload(id).with_extension("ordered")
    }

    pub(crate) fn entry(&self, repository: &Repository, id: EntryId) -> PathBuf {
        self.entries().join(directory(repository)).join(name(id))
    }

    /// A new file for what comes in.
    pub(crate) fn create(path: &Path) -> Result<File, CacheError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(CacheError::io("create", path))
    }

    /// Makes a finished file an entry. It is on the disk under its name when this returns.
    pub(crate) fn publish(
        &self,
        from: &Path,
        repository: &Repository,
        id: EntryId,
    ) -> Result<(), CacheError> {
        let dir = self.entries().join(directory(repository));
        let to = dir.join(name(id));
        let named = || {
            let _directories = self.directories();
            match fs::DirBuilder::new().mode(0o700).create(&dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            fail::fail_point!("cache::before-rename");
            // Open before the entry may be removed, and the directory with it.
            let opened = File::open(&dir)?;
            fs::rename(from, &to)?;
            Ok(opened)
        };
        let publish = named().and_then(|dir| {
            fail::fail_point!("cache::after-rename");
            dir.sync_all()?;
            // It may be there because somebody else made it, who has not synced it yet.
            sync_dir(&self.entries())
        });
        publish.map_err(CacheError::io("keep", &to))
    }

    pub(crate) fn remove_entry(&self, repository: &Repository, id: EntryId) {
        remove(&self.entry(repository, id));
        // Only an empty one goes.
        let _directories = self.directories();
        let _ = fs::remove_dir(self.entries().join(directory(repository)));
    }

    pub(crate) fn remove_upload(&self, id: u64) {
        remove(&self.upload(id));
        remove(&self.ordered(id));
    }

    /// An entry's file, if it is there.
    pub(crate) fn open_entry(
        &self,
        repository: &Repository,
        id: EntryId,
    ) -> Result<Option<File>, CacheError> {
        let path = self.entry(repository, id);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CacheError::io("read", &path)(error)),
        }
    }

    /// Notes the last use, for the next server. Whether it reaches the disk does not matter.
    pub(crate) fn touch(file: &File, now: SystemTime) {
        let _ = file.set_times(FileTimes::new().set_modified(now));
    }

    /// Free bytes for others than root.
    pub(crate) fn free(&self) -> Result<u64, CacheError> {
        let free = rustix::fs::statvfs(&self.root).map_err(io::Error::from);
        let free = free.map_err(CacheError::io("look at the file system of", &self.root))?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }

    /// All finished entries. What is none, or lies where it does not belong, is removed: a cache may be lost, but what
    /// it gives must be right. `now` is by both clocks.
    pub(crate) fn load(&self, now: (Duration, SystemTime)) -> Result<Vec<Entry>, CacheError> {
        let entries = self.entries();
        let mut found = Vec::new();
        for dir in fs::read_dir(&entries).map_err(CacheError::io("read", &entries))? {
            let dir = dir.map_err(CacheError::io("read", &entries))?.path();
            let Ok(files) = fs::read_dir(&dir) else {
                remove(&dir);
                continue;
            };
            let before = found.len();
            for file in files {
                let file = file.map(|file| file.path());
                // What else is there in a directory that cannot be read is not known: it is left as it is.
                let Ok(path) = file.inspect_err(|error| unreadable(&dir, error)) else { break };
                match self.read(&path, now) {
                    Ok(Some(entry)) => found.push(entry),
                    Ok(None) => {
                        tracing::warn!(path = %path.display(), "this file is no whole entry of the cache, and is removed");
                        remove(&path);
                    }
                    Err(error) => unreadable(&path, &error),
                }
            }
            if found.len() == before {
                let _ = fs::remove_dir(&dir);
            }
        }
        Ok(found)
    }

    fn read(&self, path: &Path, now: (Duration, SystemTime)) -> io::Result<Option<Entry>> {
        let Some(id) = path.file_name().and_then(OsStr::to_str).and_then(number) else { return Ok(None) };
        if !fs::symlink_metadata(path)?.is_file() {
            return Ok(None);
        }
        let file = File::open(path)?;
        let Some(label) = Label::read(&file)? else { return Ok(None) };
        if self.entry(&label.place.repository, id) != path {
            return Ok(None);
        }
        // A time to come means that the clock was set: then it was used now.
        let ago = now.1.duration_since(file.metadata()?.modified()?).unwrap_or_default();
        let created = label.created();
        Ok(Some(Entry {
            id,
            place: label.place,
            size: label.size,
            serial: label.serial,
            created,
            // Since before the boot is since the boot.
            used: now.0.saturating_sub(ago),
        }))
    }
}

/// Names are for files alone, and nothing of a guest is in them.
fn directory(repository: &Repository) -> String {
    hex(&Sha256::digest(repository.0.as_bytes())[..16])
}

fn name(id: u64) -> String {
    format!("{id:016x}")
}

fn number(name: &str) -> Option<u64> {
    let id = u64::from_str_radix(name, 16).ok()?;
    (self::name(id) == name).then_some(id)
}

/// One that the disk does not give is no reason to be without all others.
fn unreadable(path: &Path, error: &io::Error) {
    tracing::warn!(path = %path.display(), %error, "the cache cannot read this, and goes on without it; it stays on the disk");
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "the cache cannot remove a file");
        }
        _ => {}
    }
}

/// Names in a directory outlive the host's power once this returns.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// The last entry of a repository goes, and with it the directory, at the moment when another one is saved.
    #[test]
    fn what_is_published_is_there_whatever_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let repository = Repository("o/r".to_owned());
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    disk.remove_entry(&repository, 0);
                }
            });
            let published = (1..300).find_map(|id| {
                drop(Disk::create(&disk.upload(id)).unwrap());
                let published = disk.publish(&disk.upload(id), &repository, id);
                let there = disk.entry(&repository, id).exists();
                disk.remove_entry(&repository, id);
                published.err().map(|error| error.to_string()).or((!there).then(String::new))
            });
            over.store(true, Ordering::Relaxed);
            assert_eq!(published, None);
        });
    }
}
