//! One upload: a file that fills up, until it is sealed and becomes an entry.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fireactions_model::MachineId;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::{CacheError, Place};

mod assemble;
mod blocks;
mod coverage;
mod extent;
mod space;

pub(crate) use blocks::{BlockId, Blocks};
pub(crate) use coverage::Coverage;
pub(crate) use extent::Extent;
pub(crate) use space::Space;

/// How long sealing waits for the disk to be done with writes that go on.
const LAST_WRITES: Duration = Duration::from_secs(30);

/// How content comes in.
#[derive(Debug)]
pub(crate) enum Parts {
    Blocks(Blocks),
    Ranges(Coverage),
}

#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) id: u64,
    pub(crate) machine: MachineId,
    pub(crate) place: Place,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    parts: Mutex<Parts>,
    /// Shared by those who write, taken alone by whoever seals. Writes hold it where they run, which may be longer than
    /// the request lives that they are for.
    writing: Arc<RwLock<()>>,
    stage: AtomicU8,
    /// Cancelled when it takes no more content: whoever still receives some lets go.
    over: CancellationToken,
    /// Cancelled when it is an entry, or nothing any more.
    pub(crate) done: CancellationToken,
    space: Space,
    /// When something came last, in milliseconds of the cache's clock.
    touched: AtomicU64,
}

/// It takes content.
const OPEN: u8 = 0;
/// It becomes an entry, whatever happens to its job.
const SEALING: u8 = 1;
/// Nobody wants it any more.
const ENDED: u8 = 2;

/// The right to write to a part of an upload that is not sealed. It is held where bytes are written, which may be longer
/// than the request lives that they come from.
#[derive(Debug)]
pub(crate) struct Claim {
    upload: Arc<Upload>,
    /// A part of its own.
    extent: Extent,
    /// There is room for it, and what is not written yet is counted as if it were.
    granted: AtomicBool,
    /// How much is written, from its beginning on.
    written: AtomicU64,
    kept: AtomicBool,
    _writing: OwnedRwLockReadGuard<()>,
}

impl Claim {
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// There is room for it on the disk, which nobody else is given from now on.
    pub(crate) fn grant(&self) {
        self.upload.space.expect(self.extent.len);
        self.granted.store(true, Ordering::Release);
    }

    /// Its bytes have come, and it is accounted for.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }
}

impl Drop for Claim {
    /// What failed may be used again. If not, it only takes room.
    fn drop(&mut self) {
        let written = Extent { at: self.extent.at, len: self.written.load(Ordering::Acquire) };
        if self.granted.load(Ordering::Acquire) {
            self.upload.space.expect_no_more(self.extent.len, written);
        }
        if !self.kept.load(Ordering::Acquire)
            && let Parts::Blocks(blocks) = &mut *self.upload.parts()
        {
            blocks.give_back(self.extent);
        }
    }
}

impl Upload {
    pub(crate) fn new(
        id: u64,
        machine: MachineId,
        place: Place,
        (path, file): (PathBuf, File),
        parts: Parts,
        now: Duration,
    ) -> Self {
        let upload = Self {
            id,
            machine,
            place,
            path,
            file: Arc::new(file),
            parts: Mutex::new(parts),
            writing: Arc::default(),
            stage: AtomicU8::new(OPEN),
            over: CancellationToken::new(),
            done: CancellationToken::new(),
            space: Space::default(),
            touched: AtomicU64::new(0),
        };
        upload.touch(now);
        upload
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the parts, as long as it is open: what is sealed is what was looked at before.
    fn change<T>(&self, act: impl FnOnce(&mut Parts) -> Result<T, CacheError>) -> Result<T, CacheError> {
        let mut parts = self.parts();
        if !self.is_open() {
            return Err(CacheError::NotFound("open upload"));
        }
        act(&mut parts)
    }

    /// What it takes of the disk.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) fn blocks<T>(
        &self,
        act: impl FnOnce(&mut Blocks) -> Result<T, CacheError>,
    ) -> Result<T, CacheError> {
        self.change(|parts| match parts {
            Parts::Blocks(blocks) => act(blocks),
            Parts::Ranges(_) => Err(CacheError::NotFound("upload in blocks")),
        })
    }

    pub(crate) fn ranges<T>(&self, act: impl FnOnce(&mut Coverage) -> T) -> Result<T, CacheError> {
        self.change(|parts| match parts {
            Parts::Ranges(coverage) => Ok(act(coverage)),
            Parts::Blocks(_) => Err(CacheError::NotFound("upload in ranges")),
        })
    }

    pub(crate) fn touch(&self, now: Duration) {
        self.touched.fetch_max(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn touched(&self) -> Duration {
        Duration::from_millis(self.touched.load(Ordering::Relaxed))
    }

    /// Until it takes no more content.
    pub(crate) fn over(&self) -> WaitForCancellationFuture<'_> {
        self.over.cancelled()
    }

    fn is_open(&self) -> bool {
        self.stage.load(Ordering::Acquire) == OPEN
    }

    /// It becomes an entry at this moment.
    pub(crate) fn is_sealing(&self) -> bool {
        self.stage.load(Ordering::Acquire) == SEALING
    }

    /// Nobody wants it any more: nothing is written from now on. False, if it becomes an entry already.
    pub(crate) fn end(&self) -> bool {
        let ended = self.stage.compare_exchange(OPEN, ENDED, Ordering::AcqRel, Ordering::Acquire);
        self.over.cancel();
        ended != Err(SEALING)
    }

    /// The right to write to the part that `allocate` gives.
    pub(crate) fn claim(
        self: &Arc<Self>,
        allocate: impl FnOnce(&mut Parts) -> Result<Extent, CacheError>,
    ) -> Result<Arc<Claim>, CacheError> {
        let writing = self.writing.clone().try_read_owned();
        let writing = writing.map_err(|_| CacheError::NotFound("open upload"))?;
        self.space.bounded()?;
        let extent = self.change(allocate)?;
        Ok(Arc::new(Claim {
            upload: self.clone(),
            extent,
            granted: AtomicBool::new(false),
            written: AtomicU64::new(0),
            kept: AtomicBool::new(false),
            _writing: writing,
        }))
    }

    /// Writes some bytes, `after` so many of the claimed part. The disk is waited for elsewhere, and the write ends even
    /// if nobody waits for it any more.
    pub(crate) async fn write(claim: &Arc<Claim>, after: u64, bytes: Vec<Bytes>) -> Result<(), CacheError> {
        let claim = claim.clone();
        let write = move || {
            let upload = &claim.upload;
            let mut at = claim.extent.at + after;
            for piece in bytes {
                if !upload.is_open() {
                    return Err(CacheError::NotFound("open upload"));
                }
                upload.file.write_all_at(&piece, at).map_err(CacheError::io("write", &upload.path))?;
                at += piece.len() as u64;
                claim.written.store(at - claim.extent.at, Ordering::Release);
                upload.space.is_written(piece.len() as u64);
            }
            Ok(())
        };
        tokio::task::spawn_blocking(write).await.unwrap_or(Err(CacheError::NotFound("open upload")))
    }

    /// It becomes an entry: nobody begins to write, and those who do are not waited for longer than the disk takes. What
    /// still comes belongs to transfers that their client has given up.
    pub(crate) async fn close(&self) -> Result<(), CacheError> {
        let closed = self.stage.compare_exchange(OPEN, SEALING, Ordering::AcqRel, Ordering::Acquire);
        closed.map_err(|_| CacheError::NotFound("open upload"))?;
        self.over.cancel();
        let waited = tokio::time::timeout(LAST_WRITES, self.writing.write()).await;
        waited.map(drop).map_err(|_| CacheError::Stalled(LAST_WRITES))
    }

    /// Looks whether the content is all there. Gives its pieces, if they must be copied to be in order: as many more bytes
    /// on the disk. Once the upload is closed, the answer stays the same.
    pub(crate) fn content(&self, announced: u64) -> Result<Option<Vec<Extent>>, CacheError> {
        let wrong = |size: &str| {
            let text = format!(
                "the cache entry is not whole: {announced} bytes were announced, and {size} were uploaded"
            );
            Err(CacheError::Invalid(text))
        };
        match &*self.parts() {
            Parts::Ranges(coverage) if coverage.is_whole(announced) => Ok(None),
            Parts::Ranges(_) => wrong("other ones"),
            Parts::Blocks(blocks) => {
                let Some(pieces) = blocks.content() else { return wrong("none") };
                let size = pieces.iter().map(|piece| piece.len).sum::<u64>();
                if size != announced {
                    return wrong(&size.to_string());
                }
                Ok(Some(pieces).filter(|pieces| !assemble::is_in_order(pieces)))
            }
        }
    }

    /// Puts the content in order, in a new file that becomes the upload's. It blocks. The upload is closed.
    pub(crate) fn reorder(
        &self,
        pieces: &[Extent],
        (path, aside): (&Path, File),
    ) -> Result<File, CacheError> {
        let reorder = || {
            assemble::in_order(&self.file, pieces, &aside)?;
            std::fs::rename(path, &self.path)
        };
        reorder().map_err(CacheError::io("finish", &self.path))?;
        Ok(aside)
    }
}
