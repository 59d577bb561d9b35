//! What one image has used up, shared by everything that reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sparse::Piece;
use crate::tarread::Entry;
use crate::{ImageError, Limits};

/// What an entry costs in memory besides its texts, here and in the tree.
const ENTRY_COST: usize = 256;
/// Names looked up, on the average, to find an entry's directory. Real images stay below 20; chains of symbolic links
/// make it tens of thousands.
const LOOKUPS: u64 = 64;

/// Counts against the [`Limits`].
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    uncompressed: AtomicU64,
    entries: AtomicU64,
    metadata: AtomicU64,
    paths: AtomicU64,
    lookups: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let zero = AtomicU64::default;
        Arc::new(Self {
            limits,
            uncompressed: zero(),
            entries: zero(),
            metadata: zero(),
            paths: zero(),
            lookups: zero(),
        })
    }

    fn take(counter: &AtomicU64, amount: u64, limit: u64, what: &'static str) -> Result<(), ImageError> {
        let before = counter.fetch_add(amount, Ordering::Relaxed);
        if before.saturating_add(amount) > limit { Err(ImageError::TooLarge { what, limit }) } else { Ok(()) }
    }

    /// Bytes that came out of a decompressor, or that holes of files stand for.
    pub(crate) fn uncompressed(&self, bytes: u64) -> Result<(), ImageError> {
        let what = "its uncompressed size in bytes";
        Self::take(&self.uncompressed, bytes, self.limits.uncompressed_bytes, what)
    }

    /// An entry of an archive, to be kept.
    pub(crate) fn entry(&self, entry: &Entry) -> Result<(), ImageError> {
        let xattrs: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        let mut map = 0;
        if let Some(sparse) = &entry.sparse {
            map = sparse.pieces.len() * size_of::<Piece>();
            // Its holes take time to pack, and a few bytes say how many there are.
            self.uncompressed(entry.size - sparse.stored)?;
        }
        self.name(entry.path.len() + entry.link.len() + xattrs + map)
    }

    /// A file or directory, to be kept, with so many bytes of text.
    pub(crate) fn name(&self, bytes: usize) -> Result<(), ImageError> {
        Self::take(&self.entries, 1, self.limits.entries, "the number of its files")?;
        let what = "its file names and attributes in bytes";
        Self::take(&self.metadata, (bytes + ENTRY_COST) as u64, self.limits.metadata_bytes, what)
    }

    /// The whole path of a file, to be kept until its content is written. Symbolic links in the paths of an archive
    /// make it longer than what the archive says.
    pub(crate) fn path(&self, bytes: usize) -> Result<(), ImageError> {
        let what = "its files' paths in bytes";
        Self::take(&self.paths, bytes as u64, self.limits.metadata_bytes, what)
    }

    /// One step of finding a directory.
    pub(crate) fn lookup(&self) -> Result<(), ImageError> {
        let limit = self.limits.entries.saturating_mul(LOOKUPS);
        Self::take(&self.lookups, 1, limit, "the number of steps along its paths and links")
    }
}
