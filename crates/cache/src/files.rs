//! Entries as files of this host.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::blocking::blocking;
use crate::disk::Disk;
use crate::index::{Entry, EntryId};
use crate::storage::{Finished, Pieces, Storage};
use crate::{CacheError, Place};

/// What is read of a file at a time.
const PIECE: usize = 512 << 10;

#[async_trait]
impl Storage for Disk {
    async fn store(&self, finished: &Finished) -> Result<(), CacheError> {
        let finished = finished.clone();
        blocking(move || {
            let seal = || {
                fail::fail_point!("cache::before-seal");
                finished.label.write(&finished.file)?;
                fail::fail_point!("cache::after-seal");
                Ok(())
            };
            seal().map_err(CacheError::io("finish", &finished.path))
        })
        .await
    }

    async fn publish(&self, finished: &Finished) -> Result<(), CacheError> {
        let (disk, finished) = (self.clone(), finished.clone());
        blocking(move || Self::publish(&disk, &finished.path, &finished.label.place.repository, finished.id))
            .await
    }

    async fn touch(&self, entry: &Entry, now: SystemTime) -> Result<bool, CacheError> {
        let (disk, entry) = (self.clone(), entry.clone());
        blocking(move || {
            let file = disk.open_entry(&entry.place.repository, entry.id)?;
            Ok(file.inspect(|file| Self::touch(file, now)).is_some())
        })
        .await
    }

    async fn read(&self, entry: &Entry, (from, len): (u64, u64)) -> Result<Option<Pieces>, CacheError> {
        let (disk, entry) = (self.clone(), entry.clone());
        let file = blocking(move || disk.open_entry(&entry.place.repository, entry.id)).await?;
        Ok(file.map(|file| pieces(file, from, len)))
    }

    fn remove(&self, place: &Place, id: EntryId) {
        self.remove_entry(&place.repository, id);
    }
}

/// A part of a file. The next piece is read while one is sent, so that disk and network do not wait for each other; no
/// thread waits for a slow client.
fn pieces(file: File, from: u64, len: u64) -> Pieces {
    let (file, end) = (Arc::new(file), from + len);
    let read = move |at: u64| {
        let size = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
        let file = file.clone();
        (size > 0).then(|| {
            tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; size];
                file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece))
            })
        })
    };
    let pieces = futures_util::stream::unfold((from, read(from), read), async |(at, reading, read)| {
        let piece = reading?.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let at = at + piece.as_ref().map_or(0, |piece| piece.len() as u64);
        // After an error there is nothing more to send.
        let next = if piece.is_ok() { read(at) } else { None };
        Some((piece, (at, next, read)))
    });
    pieces.boxed()
}
