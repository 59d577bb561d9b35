//! Entries as files of this host.

use std::time::SystemTime;

use async_trait::async_trait;

use crate::blocking::blocking;
use crate::disk::Disk;
use crate::index::{Entry, EntryId};
use crate::pieces::pieces;
use crate::storage::{Finished, Pieces, Storage};
use crate::{CacheError, Place};

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
