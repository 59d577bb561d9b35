//! A verified or yet-to-be-verified blob: a stretch of a file, read by position so that it can be read twice.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use fireactions_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::ImageError;
use crate::cancel::Cancel;
use crate::manifest::to_digest;

/// Bytes of a file that make up one blob.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    file: Arc<File>,
    start: u64,
    pub len: u64,
}

impl Blob {
    pub(crate) fn new(file: Arc<File>, start: u64, len: u64) -> Self {
        Self { file, start, len }
    }

    /// Opens a whole file of a known size, of the store's own.
    pub(crate) fn open(path: &Path, what: &str, size: u64) -> Result<Self, ImageError> {
        let file = File::open(path).map_err(|e| ImageError::io("open", path, e))?;
        let metadata = file.metadata().map_err(|e| ImageError::io("read", path, e))?;
        Self::whole(file, &metadata, what, size)
    }

    /// A whole file of a known size.
    pub(crate) fn whole(file: File, metadata: &Metadata, what: &str, size: u64) -> Result<Self, ImageError> {
        if !metadata.is_file() || metadata.len() != size {
            return Err(ImageError::malformed(format!(
                "{what} is a file of {} bytes, and its descriptor says {size}",
                metadata.len()
            )));
        }
        Ok(Self::new(Arc::new(file), 0, size))
    }

    pub(crate) fn reader(&self) -> BlobReader {
        BlobReader { blob: self.clone(), pos: 0 }
    }

    /// Reads it whole and checks it. For documents, whose size the caller has bounded.
    pub(crate) fn read_verified(&self, what: &str, expected: &Digest) -> Result<Vec<u8>, ImageError> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        self.reader()
            .read_exact(&mut bytes)
            .map_err(|e| ImageError::malformed(format!("cannot read {what}: {e}")))?;
        verify(what, expected, crate::manifest::sha256(&bytes))?;
        Ok(bytes)
    }

    /// Computes its digest.
    pub(crate) fn digest(&self, cancel: &Cancel) -> Result<Digest, ImageError> {
        let mut hasher = Sha256::new();
        let mut reader = self.reader();
        let mut buffer = vec![0; 256 << 10];
        loop {
            cancel.check()?;
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(to_digest(hasher)),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) => return Err(ImageError::malformed(format!("cannot read a blob: {e}"))),
            }
        }
    }
}

/// Compares.
pub(crate) fn verify(what: &str, expected: &Digest, actual: Digest) -> Result<(), ImageError> {
    if *expected == actual {
        return Ok(());
    }
    Err(ImageError::DigestMismatch { what: what.to_string(), expected: expected.clone(), actual })
}

pub(crate) struct BlobReader {
    blob: Blob,
    pos: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.blob.len - self.pos).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let n = self.blob.file.read_at(&mut buffer[..want], self.blob.start + self.pos)?;
        if n == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.pos += n as u64;
        Ok(n)
    }
}
