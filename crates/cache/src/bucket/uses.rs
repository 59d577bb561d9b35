//! When entries were used last, on any host: an object of each is written again when it is used, and the bucket says when
//! that was. So no host's clock counts.

use std::time::Duration;

use object_store::{ObjectStoreExt as _, PutPayload};
use tokio::time::Instant;

use super::Bucket;
use super::names::{Kind, number};
use super::seen::{Mark, Touched};
use crate::index::{Entry, EntryId};
use crate::{CacheError, Repository};

/// A host says so often at most that an entry is used.
const OFTEN: Duration = Duration::from_secs(600);
/// What belongs to no entry and is older is none that is about to become one.
const ORPHAN: Duration = Duration::from_secs(24 * 3600);

impl Bucket {
    /// Notes that an entry is used, and does not wait for the bucket: what is lost of it makes an entry look older.
    pub(super) fn note_use(&self, entry: &Entry) {
        let now = Instant::now();
        {
            let mut seen = self.seen();
            let last = seen.touched.get(&entry.id);
            if last.is_some_and(|last| now.saturating_duration_since(last.at) < OFTEN) {
                return;
            }
            seen.touched.insert(entry.id, Touched { at: now, etag: None });
        }
        let (bucket, id) = (self.clone(), entry.id);
        let name = self.0.names.numbered(Kind::Used, &entry.place.repository, id);
        self.0.runtime.spawn(async move {
            // Something that no other host writes, so that this use is known by it.
            let content = PutPayload::from(rand::random::<[u8; 16]>().to_vec());
            let Ok(put) = bucket.quick("note a use", bucket.0.s3.put(&name, content)).await else { return };
            if let Some(touched) = bucket.seen().touched.get_mut(&id) {
                touched.etag = put.e_tag;
            }
        });
    }

    /// For how long the entries of a repository, or all, were not used, where another host was the last one to use them. Of
    /// others this host knows better.
    pub(crate) async fn idle(
        &self,
        repository: Option<&Repository>,
    ) -> Result<Vec<(EntryId, Duration)>, CacheError> {
        let used = self.list(&self.0.names.all(Kind::Used, repository)).await?;
        let used: std::collections::HashMap<_, _> =
            used.iter().filter_map(|(name, meta)| Some((number(name)?, Mark::from(meta)))).collect();
        let now = self.time().await?;
        let within = self.0.names.all(Kind::Entry, repository);
        let seen = self.seen();
        let idle = seen.below(&within).filter_map(|(_, known)| {
            let id = known.id?;
            let last = used.get(&id).unwrap_or(&known.mark);
            let own = seen.touched.get(&id).is_some_and(|own| match &own.etag {
                None => own.at.elapsed() < OFTEN,
                etag => *etag == last.etag,
            });
            (!own).then(|| (id, since(now, last.written)))
        });
        Ok(idle.collect())
    }

    /// Removes what belongs to no entry: content whose host was killed before it became one, and marks of entries that went.
    /// All entries were looked at just before.
    pub(crate) async fn remove_orphans(&self) -> Result<(), CacheError> {
        let now = self.time().await?;
        for kind in [Kind::Content, Kind::Used] {
            let objects = self.list(&self.0.names.all(kind, None)).await?;
            let all = self.0.names.all(Kind::Entry, None);
            let entries: std::collections::HashSet<_> =
                self.seen().below(&all).filter_map(|(_, known)| known.id).collect();
            let orphans = objects.iter().filter(|(name, meta)| {
                number(name).is_some_and(|id| !entries.contains(&id))
                    && since(now, Mark::from(*meta).written) > ORPHAN
            });
            for (name, _) in orphans {
                tracing::info!(object = %name, "this belongs to no entry of the cache, and is removed");
                match self.quick("remove", self.0.s3.delete(name)).await {
                    Ok(()) | Err(CacheError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The bucket's time of day, in milliseconds.
    async fn time(&self) -> Result<i64, CacheError> {
        let name = self.0.names.clock();
        self.quick("write", self.0.s3.put(&name, PutPayload::from(rand::random::<[u8; 16]>().to_vec())))
            .await?;
        let meta = self.quick("read", self.0.s3.head(&name)).await?;
        Ok(Mark::from(&meta).written)
    }
}

/// What is written later than now was written now: another host asked for the time after this one.
fn since(now: i64, then: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
}
