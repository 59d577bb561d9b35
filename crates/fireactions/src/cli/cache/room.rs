//! Room for what is cached: docker-registry has no limit of its own, but fetches again what it no longer has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use tokio::sync::{Mutex, watch};

use crate::registry_cache::free;

/// Between two looks at what is free, which is one system call.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks at everything that is kept, while there is room.
const COUNT: Duration = Duration::from_secs(600);
/// The same while there is none, and nothing could be removed.
const FULL: Duration = Duration::from_secs(10);

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of all blobs.
    pub(super) most: Option<u64>,
    /// Bytes that stay free on their file system.
    pub(super) keep_free: u64,
}

/// The room of the cache.
pub(super) struct Room {
    storage: PathBuf,
    limits: Limits,
    evicted: AtomicU64,
    full: AtomicBool,
    reserved: AtomicU64,
    /// One makes room at a time: when it last looked.
    making: Mutex<Option<Instant>>,
}

impl Room {
    pub(super) fn new(storage: PathBuf, limits: Limits) -> Self {
        let (evicted, full, reserved, making) = Default::default();
        Self { storage, limits, evicted, full, reserved, making }
    }

    /// Bytes that were removed.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Whether there is too little, with nothing left to remove.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Keeps the limits until all is to stop.
    pub(super) async fn keep(&self, mut stop: watch::Receiver<bool>) {
        loop {
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Makes room where it is needed.
    async fn look(&self) {
        let mut looked = self.making.lock().await;
        let short = self.short();
        if short == 0 {
            self.full.store(false, Ordering::Relaxed);
        }
        let due = match (short > 0, self.is_full()) {
            (false, _) => COUNT,
            (true, false) => Duration::ZERO,
            (true, true) => FULL,
        };
        if looked.is_some_and(|last| last.elapsed() < due) {
            return;
        }
        *looked = Some(Instant::now());
        self.evict(short).await;
        let full = self.short() > 0;
        if full && !self.full.swap(full, Ordering::Relaxed) {
            tracing::warn!(
                "less than {} MiB are free below {} (registry_cache.keep_free_mib), and nothing is left to remove: nothing new is \
                 cached until there is room",
                self.limits.keep_free >> 20,
                self.storage.display()
            );
        }
        self.full.store(full, Ordering::Relaxed);
    }

    /// Room for so many bytes that are about to come, until it is dropped; nothing if there is not enough, whatever goes for it.
    pub(super) async fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reserved> {
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        let reserved = Reserved { room: Arc::clone(self), bytes };
        // What is reserved and written already counts twice: rather too little comes than too much.
        let short = || self.short_of(self.reserved.load(Ordering::Relaxed));
        if short() == 0 {
            return Some(reserved);
        }
        let one = self.making.lock().await;
        let missing = short();
        if missing > 0 {
            self.evict(missing).await;
        }
        drop(one);
        (short() == 0).then_some(reserved)
    }

    /// Removes so much, and what is above the limit of all.
    async fn evict(&self, short: u64) {
        let (storage, most) = (self.storage.clone(), self.limits.most);
        // A tenth more than is needed, so that not every blob is the next one's end.
        let need = if short > 0 { short.saturating_add(self.limits.keep_free / 10) } else { 0 };
        match tokio::task::spawn_blocking(move || make(&storage, most, need)).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(freed)) => {
                self.evicted.fetch_add(freed, Ordering::Relaxed);
                tracing::info!("{} MiB of cached images were removed for room", freed >> 20);
            }
            Ok(Err(error)) => {
                tracing::warn!("no room could be made below {}: {error}", self.storage.display());
            }
        }
    }

    /// Bytes that are missing to what stays free. What cannot be found out is not missing.
    fn short(&self) -> u64 {
        self.short_of(0)
    }

    /// The same once so much more is there.
    fn short_of(&self, more: u64) -> u64 {
        let free = free(&self.storage).unwrap_or(u64::MAX);
        self.limits.keep_free.saturating_add(more).saturating_sub(free)
    }
}

/// Room that is about to be taken.
pub(super) struct Reserved {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One blob of a registry.
struct Blob {
    used: SystemTime,
    size: u64,
    directory: PathBuf,
}

/// Removes what was not used for the longest time, until the rest is at most `most` bytes and `need` bytes are freed. Returns what
/// was freed.
fn make(storage: &Path, most: Option<u64>, need: u64) -> io::Result<u64> {
    let mut blobs = blobs(storage)?;
    blobs.sort_by_key(|blob| blob.used);
    let mut kept: u64 = blobs.iter().map(|blob| blob.size).sum();
    let mut freed = 0;
    for blob in blobs {
        if most.is_none_or(|most| kept <= most) && freed >= need {
            break;
        }
        // Who reads it has it open. Its links stay; a blob that is not there is fetched again.
        fs::remove_dir_all(&blob.directory)?;
        kept -= blob.size;
        freed += blob.size;
    }
    Ok(freed)
}

/// `STORAGE/REGISTRY/docker/registry/v2/blobs/sha256/XX/DIGEST/data`.
fn blobs(storage: &Path) -> io::Result<Vec<Blob>> {
    let mut blobs = Vec::new();
    for registry in entries(storage)? {
        for group in entries(&registry.join("docker/registry/v2/blobs/sha256"))? {
            for directory in entries(&group)? {
                // One that is just being made has no data yet.
                let Ok(data) = fs::metadata(directory.join("data")) else { continue };
                let written = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let used = data.accessed().unwrap_or(written).max(written);
                blobs.push(Blob { used, size: data.len(), directory });
            }
        }
    }
    Ok(blobs)
}

/// What is in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(found) => found.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first_and_only_as_much_as_needed() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let blob = |registry: &str, name: &str, age: u64| {
            let group = dir.path().join(registry).join("docker/registry/v2/blobs/sha256").join(&name[..2]);
            fs::create_dir_all(group.join(name)).unwrap();
            let file = fs::File::create(group.join(name).join("data")).unwrap();
            file.set_len(1000).unwrap();
            let used = now - Duration::from_secs(age);
            file.set_times(fs::FileTimes::new().set_modified(used).set_accessed(used)).unwrap();
            group.join(name)
        };
        let (old, fresh) = (blob("docker.io", "aa01", 500), blob("docker.io", "aa02", 5));
        let (older, recent) = (blob("ghcr.io", "bb01", 900), blob("ghcr.io", "bb02", 100));
        fs::create_dir_all(fresh.with_file_name("aa03")).unwrap();
        fs::write(dir.path().join("lost+found"), "").unwrap();
        let there = || [&old, &fresh, &older, &recent].map(|path| path.exists());

        assert_eq!(make(dir.path(), Some(4000), 0).unwrap(), 0);
        assert_eq!(make(dir.path(), None, 0).unwrap(), 0);
        assert_eq!(make(dir.path(), Some(3999), 0).unwrap(), 1000);
        assert_eq!(there(), [true, true, false, true]);
        assert_eq!(make(dir.path(), None, 1).unwrap(), 1000);
        assert_eq!(there(), [false, true, false, true]);
        assert_eq!(make(dir.path(), Some(2000), 5000).unwrap(), 2000);
        assert_eq!(there(), [false, false, false, false]);
        assert_eq!(make(&dir.path().join("nothing"), Some(0), 1).unwrap(), 0);
    }
}
