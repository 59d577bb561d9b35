//! Layers, fetched into files: resumed where an earlier attempt ended, verified before they get their name.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::{Method, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::http::{Attempt, Retry, no_web_page, refusal};
use super::{Registries, Repository};
use crate::ImageError;
use crate::blob::{Blob, verify};
use crate::cancel::Cancel;
use crate::files::{entries, remove};
use crate::keyed::KeyedLocks;
use crate::manifest::{Descriptor, to_digest};

/// The directory of fetched layers: `HEX` when whole and verified, `HEX.REGISTRY.part` while not.
#[derive(Clone)]
pub(crate) struct BlobCache {
    dir: PathBuf,
    /// Two images of a registry that share a layer fetch it once.
    locks: Arc<KeyedLocks>,
}

/// A file being filled.
struct Partial {
    path: PathBuf,
    len: u64,
    /// Absent while a thread that may wait for the disk writes.
    written: Option<Written>,
}

struct Written {
    file: std::fs::File,
    hasher: Sha256,
}

impl Partial {
    /// Takes up what an earlier attempt left.
    fn open(path: PathBuf, max: u64) -> Result<Self, ImageError> {
        use std::io::{Read, Seek};
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| ImageError::io("open", &path, e))?;
        let mut hasher = Sha256::new();
        let mut len = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(|e| ImageError::io("read", &path, e))? {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    len += n as u64;
                }
            }
        }
        let mut written = Written { file, hasher };
        if len > max {
            written.restart().map_err(|e| ImageError::io("empty", &path, e))?;
            len = 0;
        }
        written.file.seek(std::io::SeekFrom::End(0)).map_err(|e| ImageError::io("read", &path, e))?;
        Ok(Self { path, len, written: Some(written) })
    }

    /// Works on the file on a thread of its own: a disk that is slow, or hangs, holds up no other task of the server.
    async fn work(
        &mut self,
        verb: &'static str,
        work: impl FnOnce(&mut Written) -> std::io::Result<()> + Send + 'static,
    ) -> Result<(), ImageError> {
        let mut written = self.written.take().ok_or_else(Self::left)?;
        let path = self.path.clone();
        let written = crate::blocking(move || match work(&mut written) {
            Ok(()) => Ok(written),
            Err(e) => Err(ImageError::io(verb, &path, e)),
        });
        self.written = Some(written.await?);
        Ok(())
    }

    /// An error of writing ends the pull, so nobody sees this.
    fn left() -> ImageError {
        ImageError::Internal("a layer's file was left by who wrote it".into())
    }

    async fn restart(&mut self) -> Result<(), ImageError> {
        self.work("empty", Written::restart).await?;
        self.len = 0;
        Ok(())
    }

    async fn append(&mut self, pieces: Vec<Bytes>) -> Result<(), ImageError> {
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let append = move |written: &mut Written| {
            pieces.iter().try_for_each(|piece| {
                written.hasher.update(piece);
                written.file.write_all(piece)
            })
        };
        if let Err(error) = self.work("write", append).await {
            if matches!(error, ImageError::DiskFull { .. }) {
                // What cannot be finished must not hold the space.
                let _ = std::fs::remove_file(&self.path);
            }
            return Err(error);
        }
        self.len += length;
        Ok(())
    }
}

impl Written {
    fn restart(&mut self) -> std::io::Result<()> {
        use std::io::Seek;
        self.hasher = Sha256::new();
        self.file.set_len(0)?;
        self.file.rewind()
    }
}

impl BlobCache {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), locks: Arc::default() }
    }

    /// A layer that is already here, verified again: the power may have failed since it was written.
    async fn cached(&self, descriptor: &Descriptor, cancel: &Cancel) -> Result<Option<Blob>, ImageError> {
        let path = self.dir.join(descriptor.digest.hex());
        let (size, expected, cancel) = (descriptor.size, descriptor.digest.clone(), cancel.clone());
        crate::blocking(move || {
            // Not there, or trimmed in this moment.
            if !path.exists() {
                return Ok(None);
            }
            let found = Blob::open(&path, "cached layer", size);
            if let Ok(blob) = &found
                && blob.digest(&cancel)? == expected
            {
                // The time of last use, for trimming.
                let _ = std::fs::File::open(&path).and_then(|f| f.set_modified(SystemTime::now()));
                return Ok(Some(blob.clone()));
            }
            tracing::warn!(path = %path.display(), "a cached layer is damaged; fetching it again");
            remove(&path)?;
            Ok(None)
        })
        .await
    }
}

/// How long the beginning of a layer is kept for a later attempt.
const PARTIAL_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Bytes that are written at once.
const GATHER: u64 = 1 << 20;

/// A beginning that grew within this time is one that is being fetched.
const GROWS: Duration = Duration::from_secs(10 * 60);

impl BlobCache {
    /// Removes the least recently used layers, and beginnings of layers, until the rest is at most `keep` bytes; and beginnings
    /// that nobody came back for. What is being fetched stays. Returns the bytes given back.
    pub(crate) fn trim(&self, keep: u64) -> Result<u64, ImageError> {
        let mut all = Vec::new();
        let mut freed = 0;
        for path in entries(&self.dir)? {
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let unused = used.elapsed().unwrap_or_default();
            if path.extension().is_some() && unused > PARTIAL_LIFE {
                remove(&path)?;
                freed += metadata.len();
            } else if path.extension().is_none() || unused > GROWS {
                all.push((used, metadata.len(), path));
            }
        }
        all.sort();
        let mut kept: u64 = all.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in all {
            if kept <= keep {
                break;
            }
            // A pull that reads it has it open.
            remove(&path)?;
            kept -= size;
            freed += size;
        }
        Ok(freed)
    }
}

impl Registries {
    pub(super) async fn layer_at(
        &self,
        cache: &BlobCache,
        repository: &Repository,
        descriptor: &Descriptor,
        cancel: &Cancel,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Blob, ImageError> {
        // Of one registry: one that is slow, or means to be, keeps no other's image waiting that has the same layer.
        let from = to_digest(Sha256::new_with_prefix(&repository.base));
        let name = format!("{}.{:.16}", descriptor.digest.hex(), from.hex());
        let _one = cache.locks.lock(&name).await;
        if let Some(blob) = cache.cached(descriptor, cancel).await? {
            progress(descriptor.size);
            return Ok(blob);
        }
        let path = cache.dir.join(descriptor.digest.hex());
        let part = cache.dir.join(format!("{name}.part"));
        for second in [false, true] {
            let (to_open, max) = (part.clone(), descriptor.size);
            let mut partial = crate::blocking(move || Partial::open(to_open, max)).await?;
            let resumed = partial.len > 0;
            self.fill(repository, descriptor, &mut partial, &progress).await?;
            let Some(Written { hasher, .. }) = partial.written else { return Err(Partial::left()) };
            let Err(error) = verify("layer", &descriptor.digest, to_digest(hasher)) else { break };
            std::fs::remove_file(&part).map_err(|e| ImageError::io("remove", &part, e))?;
            // What an earlier attempt left may have been damaged by a crash; a whole one is the registry's.
            if !resumed || second {
                return Err(error);
            }
        }
        // Open first: under its name it may be trimmed.
        let blob = Blob::open(&part, "layer", descriptor.size)?;
        std::fs::rename(&part, &path).map_err(|e| ImageError::io("name", &path, e))?;
        Ok(blob)
    }

    /// Appends until it is whole, trying again as long as it gets further.
    async fn fill(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        partial: &mut Partial,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<(), ImageError> {
        let mut retry = Retry::new(repository, self.config.timeouts.backoff);
        loop {
            progress(partial.len);
            if partial.len == descriptor.size {
                return Ok(());
            }
            let before = partial.len;
            match self.fetch(repository, descriptor, partial, progress).await {
                Ok(()) => {}
                Err(failure) => {
                    if partial.len > before {
                        retry.progressed();
                    }
                    retry.wait(failure).await?;
                }
            }
        }
    }

    /// One request for what is missing.
    async fn fetch(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        partial: &mut Partial,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<(), Attempt> {
        let registry = &repository.registry;
        let url = repository.url(&format!("blobs/{}", descriptor.digest));
        let mut headers = header::HeaderMap::new();
        if partial.len > 0
            && let Ok(range) = format!("bytes={}-", partial.len).parse()
        {
            headers.insert(header::RANGE, range);
        }
        let mut response = self.send(repository, Method::GET, &url, headers).await?;
        if response.status().is_success() {
            no_web_page(registry, &response)?;
        }
        match response.status() {
            StatusCode::OK => partial.restart().await?,
            StatusCode::PARTIAL_CONTENT if continues(&response, partial.len) => {}
            // Not from where it was asked for: begin again, and count it as a failure so that it ends.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart().await?;
                return Err(Attempt::Again { why: "it cannot resume a layer".into(), retry_after: None });
            }
            _ => return Err(refusal(repository, response).await),
        }
        let (mut pieces, mut gathered) = (Vec::new(), 0);
        loop {
            let chunk = response.chunk().await;
            if let Ok(Some(chunk)) = &chunk {
                gathered += chunk.len() as u64;
                if partial.len + gathered > descriptor.size {
                    let why = format!("a layer is longer than the {} bytes it should have", descriptor.size);
                    let _ = std::fs::remove_file(&partial.path);
                    return Err(ImageError::Protocol { registry: registry.clone(), why }.into());
                }
                pieces.push(chunk.clone());
                progress(partial.len + gathered);
            }
            let goes_on = matches!(chunk, Ok(Some(_)));
            if gathered >= GATHER || !goes_on {
                // Also what came before it broke: the next attempt begins there.
                partial.append(std::mem::take(&mut pieces)).await?;
                gathered = 0;
            }
            match chunk {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Err(Attempt::from_reqwest(registry, &error)),
            }
        }
        if partial.len < descriptor.size {
            return Err(Attempt::Again { why: "it ended a layer early".into(), retry_after: None });
        }
        Ok(())
    }
}

fn continues(response: &reqwest::Response, from: u64) -> bool {
    response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(&format!("bytes {from}-")))
}
