//! A part of a file, piece by piece, as it is sent.
//!
//! What is in the page cache is read at once, into memory that was sent just before and is still in the processor's own cache. What is
//! not is read by a thread that may wait for the disk: larger pieces, and the next one while one is sent. No thread waits for a slow
//! client.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use crate::storage::Pieces;

/// What is read at a time of what is in memory, and of what is not.
const NEAR: usize = 128 << 10;
const FAR: usize = 512 << 10;

/// The part of the file that begins at `from` and is so long. It is to be in the file: an end before is an error.
pub(crate) fn pieces(file: File, from: u64, len: u64) -> Pieces {
    let part = Part { file: Arc::new(file), at: from, end: from + len, spare: Arc::default(), ahead: None };
    let next = async |mut part: Part| {
        let piece = part.next().await?;
        Some((piece, part))
    };
    futures_util::stream::unfold(part, next).boxed()
}

struct Part {
    file: Arc<File>,
    /// What is to be sent still.
    at: u64,
    end: u64,
    spare: Arc<Spare>,
    /// The next piece, where it comes from the disk.
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Part {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let mut ahead = self.ahead.take();
        if ahead.is_none() {
            if let Some(piece) = self.near() {
                self.at += piece.len() as u64;
                return Some(Ok(piece));
            }
            ahead = self.far();
        }
        let piece = ahead?.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match &piece {
            Ok(piece) => {
                self.at += piece.len() as u64;
                self.ahead = self.far();
            }
            // There is nothing more to send.
            Err(_) => self.at = self.end,
        }
        Some(piece)
    }

    fn size(&self, most: usize) -> usize {
        usize::try_from(self.end - self.at).map_or(most, |left| left.min(most))
    }

    /// A piece that is in memory. Not all filesystems can say whether it is.
    fn near(&self) -> Option<Bytes> {
        let size = self.size(NEAR);
        if size == 0 {
            return None;
        }
        let mut memory = self.spare.take();
        let mut into = [IoSliceMut::new(&mut memory[..size])];
        match preadv2(&*self.file, &mut into, self.at, ReadWriteFlags::NOWAIT) {
            Ok(len) if len > 0 => Some(Bytes::from_owner(Lent { memory, len, to: self.spare.clone() })),
            // Its end, or an error, is told by who waits for the disk.
            Ok(_) | Err(_) => {
                self.spare.give(memory);
                None
            }
        }
    }

    /// Begins to read a piece, if there is one.
    fn far(&self) -> Option<JoinHandle<io::Result<Bytes>>> {
        let (file, at, size) = (self.file.clone(), self.at, self.size(FAR));
        (size > 0).then(|| {
            tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; size];
                file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
            })
        })
    }
}

/// Memory of pieces that are sent.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; NEAR])
    }

    fn give(&self, memory: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// A piece, whose memory goes back once it is sent.
struct Lent {
    memory: Vec<u8>,
    len: usize,
    to: Arc<Spare>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.to.give(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rustix::fs::{Advice, fadvise};

    use super::*;

    fn file(len: usize) -> (File, Vec<u8>) {
        let content: Vec<u8> = (0..len).map(|at| u8::try_from((at ^ (at >> 8)) % 251).unwrap()).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        file.sync_all().unwrap();
        (file, content)
    }

    async fn read(file: &File, from: usize, len: usize) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut pieces = pieces(file.try_clone().unwrap(), from as u64, len as u64);
        while let Some(piece) = pieces.next().await {
            all.extend(piece?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn every_part_comes_whole_from_memory_and_from_the_disk() {
        let (file, content) = file(3 * FAR + 5);
        for (from, len) in
            [(0, 0), (0, 1), (7, NEAR), (1, NEAR + 1), (0, FAR), (FAR - 1, 2 * FAR), (0, 3 * FAR + 5)]
        {
            let wanted = &content[from..from + len];
            assert!(read(&file, from, len).await.unwrap() == wanted, "{from} {len}");
            // Out of memory, as far as the filesystem does that.
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            assert!(read(&file, from, len).await.unwrap() == wanted, "{from} {len}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_an_error_and_the_last_word() {
        let (file, content) = file(NEAR + 10);
        let mut pieces = pieces(file, 0, NEAR as u64 + 20);
        let mut got = Vec::new();
        let error = loop {
            match pieces.next().await.unwrap() {
                Ok(piece) => got.extend(piece),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(content.starts_with(&got));
        assert!(pieces.next().await.is_none());
    }

    #[tokio::test]
    async fn memory_of_what_is_sent_is_used_again() {
        let (file, _) = file(8 * NEAR);
        let spare = Arc::default();
        let mut part = Part {
            file: Arc::new(file),
            at: 0,
            end: 8 * NEAR as u64,
            spare: Arc::clone(&spare),
            ahead: None,
        };
        let held = part.next().await.unwrap().unwrap();
        while part.at < part.end {
            part.next().await.unwrap().unwrap();
        }
        let count = || spare.0.lock().unwrap().len();
        let before = count();
        assert_eq!(before, 1);
        drop(held);
        assert!(count() <= 2);
    }
}
