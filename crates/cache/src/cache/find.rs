//! What a job finds.

use super::Cache;
use crate::index::Entry;
use crate::storage::Pieces;
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
        if grant.reads.iter().any(|scope| scope.owner().is_none()) {
            self.look(&grant.repository).await?;
        }
        loop {
            let found = self.state().index.find(grant, version, keys).cloned();
            let Some(entry) = found else {
                self.0.counts.misses.add(1);
                return Ok(None);
            };
            // Gone only if it was evicted this moment, or somebody removed the file by hand: then it is searched again.
            if self.touch(&entry).await? {
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

    /// An entry that this job may read, which is used by that.
    pub(crate) async fn readable(&self, grant: &Grant, id: u64) -> Result<Entry, CacheError> {
        let entry = self.state().readable(grant, id)?;
        if self.touch(&entry).await? { Ok(entry) } else { Err(CacheError::NotFound("cache entry")) }
    }

    /// So many bytes of an entry's content, from the first number on.
    pub(crate) async fn read(&self, entry: &Entry, part: (u64, u64)) -> Result<Pieces, CacheError> {
        let pieces = self.storage(&entry.place).read(entry, part).await?;
        pieces.ok_or_else(|| {
            self.is_gone(entry);
            CacheError::NotFound("cache entry")
        })
    }

    /// Notes that an entry is used. False if it is there no more.
    async fn touch(&self, entry: &Entry) -> Result<bool, CacheError> {
        let is_there = self.storage(&entry.place).touch(entry, self.0.clock.day()).await?;
        if is_there {
            let now = self.now();
            self.state().index.touch(entry.id, now);
        } else {
            self.is_gone(entry);
        }
        Ok(is_there)
    }

    /// Its content is not there any more. What else there is of it goes, too.
    fn is_gone(&self, entry: &Entry) {
        if self.state().index.remove(entry.id).is_some() {
            self.remove(entry);
        }
    }
}
