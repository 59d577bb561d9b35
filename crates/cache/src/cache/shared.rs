//! What several hosts share: what the others did is seen before it matters here.

use super::Cache;
use crate::index::Entry;
use crate::{CacheError, Repository};

impl Cache {
    /// Where entries are that other hosts see, too (`s3://BUCKET/PREFIX`).
    pub fn bucket(&self) -> Option<&str> {
        self.0.bucket.as_ref().map(crate::bucket::Bucket::shown)
    }

    /// What is wrong with the bucket at the moment, in words for people.
    pub fn problem(&self) -> Option<String> {
        self.0.bucket.as_ref()?.problem()
    }

    /// Looks after the bucket: sees all that other hosts have saved, used and removed, and removes what hosts left there that
    /// were killed. It is for some minutes' pauses; in between, a job sees its own repository as it is. Without a bucket it does
    /// nothing.
    pub async fn tend(&self) -> Result<(), CacheError> {
        let Some(bucket) = &self.0.bucket else { return Ok(()) };
        bucket.abort_left().await;
        self.look_at(None).await?;
        self.learn_uses(None).await?;
        bucket.remove_orphans().await?;
        bucket.removed().await;
        Ok(())
    }

    /// Sees a repository's entries as they are now, whoever saved or removed some.
    pub(super) async fn look(&self, repository: &Repository) -> Result<(), CacheError> {
        self.look_at(Some(repository)).await
    }

    async fn look_at(&self, repository: Option<&Repository>) -> Result<(), CacheError> {
        let Some(bucket) = &self.0.bucket else { return Ok(()) };
        let apply = |changes: crate::bucket::Changes| {
            let now = self.now();
            let mut state = self.state();
            for id in changes.gone {
                state.index.remove(id);
            }
            for card in changes.new {
                let (created, id) = (card.label.created(), card.id);
                let (place, size, serial) = (card.label.place, card.label.size, card.label.serial);
                // For how long nobody used it is learned later. Until then it does not go.
                state.index.add(Entry { id, place, size, serial, created, used: now });
            }
        };
        bucket.look(repository, apply).await
    }

    /// Learns when entries were used that another host was the last one to use.
    pub(super) async fn learn_uses(&self, repository: Option<&Repository>) -> Result<(), CacheError> {
        let Some(bucket) = &self.0.bucket else { return Ok(()) };
        let idle = bucket.idle(repository).await?;
        let now = self.now();
        let mut state = self.state();
        for (id, time) in idle {
            state.index.set_used(id, |_| now.saturating_sub(time));
        }
        Ok(())
    }
}
