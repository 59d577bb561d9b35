//! Room for what is cached: docker-registry has no limit of its own, but fetches again what it no longer has.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use tokio::sync::watch;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(600);

/// Keeps what is below `storage` within `most` bytes, until all is to stop.
pub(super) async fn keep(storage: Arc<Path>, most: u64, mut stop: watch::Receiver<bool>) {
    loop {
        let below = Arc::clone(&storage);
        match tokio::task::spawn_blocking(move || make(&below, most)).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(freed)) => tracing::info!("{} MiB of cached images were removed for room", freed >> 20),
            Ok(Err(error)) => {
                tracing::warn!("no room could be made below {}: {error}", storage.display());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// One blob of a registry.
struct Blob {
    used: SystemTime,
    size: u64,
    directory: PathBuf,
}

/// Removes what was not used for the longest time, until the rest is at most `most` bytes. Returns what was freed.
fn make(storage: &Path, most: u64) -> io::Result<u64> {
    let mut blobs = blobs(storage)?;
    blobs.sort_by_key(|blob| blob.used);
    let mut kept: u64 = blobs.iter().map(|blob| blob.size).sum();
    let mut freed = 0;
    for blob in blobs {
        if kept <= most {
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

        assert_eq!(make(dir.path(), 4000).unwrap(), 0);
        assert_eq!(make(dir.path(), 3999).unwrap(), 1000);
        assert_eq!(there(), [true, true, false, true]);
        assert_eq!(make(dir.path(), 1000).unwrap(), 2000);
        assert_eq!(there(), [false, true, false, false]);
        assert_eq!(make(&dir.path().join("nothing"), 0).unwrap(), 0);
    }
}
