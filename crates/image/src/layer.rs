//! A layer as a stream: decompressed on a thread of its own, bounded, hashed, and scanned for its entries.
//!
//! Every layer is read twice: once to verify it and to learn its entries, once to copy the content that survives
//! flattening. The first reading overlaps the download of other layers. The alternative, one reading from the top
//! layer down, saves about a quarter of the CPU time of a conversion but cannot know what a symbolic link in a lower
//! layer does to a path above it, nor give back a hard link's content once its target went by.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use fireactions_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::ImageError;
use crate::blob::{Blob, verify};
use crate::budget::Budget;
use crate::cancel::Cancel;
use crate::confined::Programs;
use crate::manifest::to_digest;
use crate::tarread::{Entry, TarReader, unwrap_io};
use crate::unzstd::Unzstd;

/// Buffers between the decompressing thread and its reader: enough to overlap, small enough to forget.
const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 4;
/// Below this, no expansion is called a bomb: a layer of zeros is small and harmless.
const BOMB_FLOOR: u64 = 1 << 30;

/// Decompressed bytes with their bounds.
struct Bounded<R> {
    inner: R,
    done: u64,
    compressed: u64,
    budget: Option<Arc<Budget>>,
    cancel: Cancel,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        let n = self.inner.read(buffer)?;
        self.done += n as u64;
        if let Some(budget) = &self.budget {
            let limits = &budget.limits;
            budget.uncompressed(n as u64).map_err(io::Error::other)?;
            if self.done > BOMB_FLOOR && self.done / limits.expansion > self.compressed {
                return Err(io::Error::other(ImageError::malformed(format!(
                    "a layer of {} bytes unpacks to more than {} times its size: a decompression bomb",
                    self.compressed, limits.expansion
                ))));
            }
        }
        Ok(n)
    }
}

type Chunk = io::Result<Vec<u8>>;

/// Reads ahead on a thread. Dropping it ends the thread at its next buffer.
struct Readahead {
    chunks: Receiver<Chunk>,
    spent: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    pos: usize,
    ended: bool,
}

impl Readahead {
    fn spawn(mut inner: impl Read + Send + 'static) -> io::Result<Self> {
        let (send, chunks) = sync_channel::<Chunk>(BUFFERS);
        let (spent, reuse) = sync_channel::<Vec<u8>>(BUFFERS + 2);
        std::thread::Builder::new().name("image-read".into()).spawn(move || {
            loop {
                let mut buffer = reuse.try_recv().unwrap_or_default();
                buffer.resize(BUFFER, 0);
                let mut filled = 0;
                let mut failed = None;
                while filled < buffer.len() {
                    match inner.read(&mut buffer[filled..]) {
                        Ok(0) => break,
                        Ok(n) => filled += n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => {
                            failed = Some(e);
                            break;
                        }
                    }
                }
                let last = filled < buffer.len();
                buffer.truncate(filled);
                // An empty chunk is the end.
                if filled > 0 && send.send(Ok(buffer)).is_err() {
                    return;
                }
                if last {
                    let _ = send.send(failed.map_or(Ok(Vec::new()), Err));
                    return;
                }
            }
        })?;
        Ok(Self { chunks, spent, current: Vec::new(), pos: 0, ended: false })
    }
}

impl Read for Readahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pos == self.current.len() {
            if self.ended || buffer.is_empty() {
                return Ok(0);
            }
            let _ = self.spent.try_send(std::mem::take(&mut self.current));
            self.pos = 0;
            self.current = match self.chunks.recv() {
                Ok(chunk) => chunk?,
                Err(_) => return Err(io::Error::other("the reading thread is gone")),
            };
            if self.current.is_empty() {
                self.ended = true;
                return Ok(0);
            }
        }
        let n = buffer.len().min(self.current.len() - self.pos);
        buffer[..n].copy_from_slice(&self.current[self.pos..self.pos + n]);
        self.pos += n;
        Ok(n)
    }
}

/// Opens a layer's uncompressed archive. The compression is told by the first bytes, as every runtime does:
/// media types are often wrong.
pub(crate) fn open(
    programs: &Programs,
    blob: &Blob,
    budget: Option<Arc<Budget>>,
    cancel: &Cancel,
) -> Result<impl Read + Send + use<>, ImageError> {
    let failed = |e: io::Error| ImageError::malformed(format!("cannot read a layer: {e}"));
    let mut magic = Vec::new();
    blob.reader().take(4).read_to_end(&mut magic).map_err(failed)?;
    let input = BufReader::with_capacity(BUFFER, blob.reader());
    let plain: Box<dyn Read + Send> = match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            Box::new(Unzstd::start(programs, blob, cancel)?)
        }
        _ => Box::new(input),
    };
    Ok(Bounded { inner: plain, done: 0, compressed: blob.len, budget, cancel: cancel.clone() })
}

fn read_ahead(inner: impl Read + Send + 'static) -> Result<Readahead, ImageError> {
    Readahead::spawn(inner).map_err(|e| ImageError::Internal(format!("cannot start a thread: {e}")))
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// Verifies a layer against the digest of its uncompressed archive and lists its entries.
pub(crate) fn scan(
    programs: &Programs,
    blob: &Blob,
    diff_id: &Digest,
    budget: &Arc<Budget>,
    cancel: &Cancel,
) -> Result<Vec<Entry>, ImageError> {
    list(read_ahead(open(programs, blob, Some(budget.clone()), cancel)?)?, diff_id, budget)
}

/// See [`scan`].
pub(crate) fn list(stream: impl Read, diff_id: &Digest, budget: &Budget) -> Result<Vec<Entry>, ImageError> {
    let mut archive =
        TarReader::new(BufReader::with_capacity(64 << 10, Hashing { inner: stream, hasher: Sha256::new() }));
    let mut entries = Vec::new();
    // A wrong digest is the better story than the broken archive that it explains.
    let listed = loop {
        match archive.next_entry() {
            Ok(Some(mut entry)) => {
                budget.entry(&entry)?;
                entry.path.shrink_to_fit();
                entry.link.shrink_to_fit();
                entries.push(entry);
            }
            Ok(None) => break Ok(()),
            Err(e @ ImageError::Malformed(_)) => break Err(e),
            Err(e) => return Err(e),
        }
    };
    let drained = archive.drain().map(|input| input.into_inner().hasher);
    match (listed, drained) {
        (listed, Ok(hasher)) => {
            verify("uncompressed layer", diff_id, to_digest(hasher))?;
            listed.map(|()| entries)
        }
        (Err(e), Err(_)) | (Ok(()), Err(e)) => Err(e),
    }
}

/// Copies the stretches of a layer that `wanted` (offset and length, ascending) names, calling `each` at the begin of
/// each one with a reader of exactly that length.
pub(crate) fn copy_contents<T>(
    programs: &Programs,
    blob: &Blob,
    wanted: &[(u64, u64, T)],
    cancel: &Cancel,
    mut each: impl FnMut(&T, &mut dyn Read) -> Result<(), ImageError>,
) -> Result<(), ImageError> {
    let mut stream = read_ahead(open(programs, blob, None, cancel)?)?;
    let mut pos = 0;
    for (offset, len, item) in wanted {
        let gap = offset - pos;
        let skipped = io::copy(&mut stream.by_ref().take(gap), &mut io::sink())
            .map_err(|e| unwrap_io(e, "cannot read a layer"))?;
        let mut content = stream.by_ref().take(*len);
        each(item, &mut content)?;
        if skipped < gap || content.limit() > 0 {
            return Err(ImageError::malformed("a layer changed while it was read"));
        }
        pos = offset + len;
    }
    Ok(())
}
