//! What a job finds.

use std::fs::File;
use std::io;

use super::{Cache, blocking};
use crate::disk::Disk;
use crate::index::Entry;
use crate::{CacheError, Grant, Key, Version};

impl Cache {
    /// The entry that a job finds by these keys, the first one first.
    pub(crate) async fn find(
        &self,
        grant: &Grant,
        version: &Version,
        keys: &[Key],
    ) -> Result<Option<Entry>, CacheError> {
        if grant.reads.is_empty() {
            return Err(CacheError::ReadDenied);
        }
        loop {
            let found = self.state().index.find(grant, version, keys).cloned();
            let Some(entry) = found else {
                self.0.counts.misses.add(1);
                return Ok(None);
            };
            // Gone only if it was evicted this moment, or somebody removed the file by hand: then it is searched again.
            if self.open_entry(&entry).await?.is_some() {
                self.0.counts.hits.add(1);
                return Ok(Some(entry));
            }
        }
    }

    /// What a job may read whose key begins so.
    pub(crate) fn list(&self, grant: &Grant, prefix: &str, most: usize) -> Vec<Entry> {
        let state = self.state();
        let all = state.index.all().filter(|entry| {
            entry.place.repository == grant.repository
                && grant.reads.contains(&entry.place.scope)
                && entry.place.key.as_str().starts_with(prefix)
        });
        all.take(most).cloned().collect()
    }

    /// The content of an entry that this job may read.
    pub(crate) async fn open_content(&self, grant: &Grant, id: u64) -> Result<(File, Entry), CacheError> {
        let entry = self.state().readable(grant, id)?;
        let file = self.open_entry(&entry).await?;
        Ok((file.ok_or(CacheError::NotFound("cache entry"))?, entry))
    }

    async fn open_entry(&self, entry: &Entry) -> Result<Option<File>, CacheError> {
        let (cache, entry) = (self.clone(), entry.clone());
        blocking(move || {
            let path = cache.0.disk.entry(&entry.place.repository, entry.id);
            match File::open(&path) {
                Ok(file) => {
                    let now = cache.now();
                    cache.state().index.touch(entry.id, now);
                    Disk::touch(&file, cache.0.clock.day());
                    Ok(Some(file))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    cache.state().index.remove(entry.id);
                    Ok(None)
                }
                Err(error) => Err(CacheError::io("read", &path)(error)),
            }
        })
        .await
    }
}
