//! What a job saves: an upload that begins, is filled, and becomes an entry.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::MachineId;

use super::{Cache, Inner};
use crate::blocking::{blocking, broken};
use crate::disk::Disk;
use crate::entry_file::Label;
use crate::index::Entry;
use crate::state::{Session, State};
use crate::storage::Finished;
use crate::upload::{Claim, Extent, Parts, Upload};
use crate::{CacheError, Grant, Key, Place, Version};

/// Integers that JavaScript can count.
const SAFE: u64 = (1 << 53) - 1;
/// How long a client waits at most that asks again.
const SEALED: Duration = Duration::from_secs(900);

impl Cache {
    /// Begins an upload where the job may save. Gives its number, which the entry will have, too.
    pub(crate) async fn create(
        &self,
        session: &Session,
        (version, key): (Version, Key),
        parts: Parts,
    ) -> Result<u64, CacheError> {
        let place = Self::writable(&session.grant, version, key)?;
        if place.scope.owner().is_none() {
            self.look(&place.repository).await?;
        }
        let (cache, machine) = (self.clone(), session.machine.clone());
        blocking(move || {
            let most = cache.0.limits.uploads;
            let id = cache.fresh_id();
            let path = cache.0.disk.upload(id);
            // Asked before there is a file for each refusal, and again when it counts.
            cache.state().may_begin(&machine, &place, most)?;
            let file = Disk::create(&path)?;
            let upload = Upload::new(id, machine, place, (path, file), parts, cache.now());
            let upload = Arc::new(upload);
            let mut state = cache.state();
            match state.may_begin(&upload.machine, &upload.place, most) {
                Ok(earlier) => {
                    state.begin(upload);
                    drop(state);
                    if let Some(earlier) = earlier {
                        cache.discard(&earlier);
                    }
                    Ok(id)
                }
                Err(error) => {
                    drop(state);
                    cache.0.disk.remove_upload(id);
                    Err(error)
                }
            }
        })
        .await
    }

    /// The place where a job saves under this name.
    pub(crate) fn writable(grant: &Grant, version: Version, key: Key) -> Result<Place, CacheError> {
        let scope = grant.writes.clone().ok_or(CacheError::WriteDenied)?;
        Ok(Place { repository: grant.repository.clone(), scope, version, key })
    }

    pub(crate) fn upload(&self, machine: &MachineId, id: u64) -> Result<Arc<Upload>, CacheError> {
        self.state().upload(machine, id)
    }

    pub(crate) fn upload_at(&self, machine: &MachineId, place: &Place) -> Result<Arc<Upload>, CacheError> {
        self.state().upload_at(machine, place)
    }

    /// A part of an upload to write to, with room for it on the disk.
    pub(crate) async fn claim(
        &self,
        upload: &Arc<Upload>,
        allocate: impl FnOnce(&mut Parts) -> Result<Extent, CacheError>,
    ) -> Result<Arc<Claim>, CacheError> {
        let claim = upload.claim(allocate)?;
        let (cache, repository) = (self.clone(), upload.place.repository.clone());
        blocking(move || {
            cache.make_room(Some(&repository), claim.extent().len, || claim.grant())?;
            Ok(claim)
        })
        .await
    }

    /// The entry of this size that is where a job wanted to save one: a client that got no answer asks again.
    pub(crate) fn saved_at(&self, place: &Place, size: u64) -> Option<u64> {
        let state = self.state();
        state.index.at(place).filter(|entry| entry.size == size).map(|entry| entry.id)
    }

    /// Whether an upload of this number has become an entry of this size, where this job saves.
    pub(crate) fn is_saved(&self, grant: &Grant, id: u64, size: u64) -> bool {
        let own = |entry: &Entry| {
            entry.place.repository == grant.repository && Some(&entry.place.scope) == grant.writes.as_ref()
        };
        self.state().index.get(id).is_some_and(|entry| entry.size == size && own(entry))
    }

    /// Makes an upload of `size` bytes an entry. It outlives the server when this returns.
    pub(crate) async fn finish(&self, upload: Arc<Upload>, size: u64) -> Result<u64, CacheError> {
        // Asked first, so that a client that counted wrong may go on.
        upload.content(size)?;
        if upload.is_sealing() {
            return self.finished(&upload, size).await;
        }
        // Once it is closed there is no way back, and nobody else finishes it: that must not hang on a client that waits.
        let cache = self.clone();
        let finished = tokio::spawn(async move { cache.close_and_seal(upload, size).await });
        finished.await.unwrap_or_else(|error| Err(broken(error)))
    }

    /// A client that has waited for too long asks again while its upload becomes an entry.
    async fn finished(&self, upload: &Upload, size: u64) -> Result<u64, CacheError> {
        let done = tokio::time::timeout(SEALED, upload.done.cancelled()).await;
        done.map_err(|_| CacheError::Stalled(SEALED))?;
        let state = self.state();
        let entry = state.index.get(upload.id).filter(|entry| entry.size == size);
        entry.map(|entry| entry.id).ok_or(CacheError::NotFound("open upload"))
    }

    async fn close_and_seal(&self, upload: Arc<Upload>, size: u64) -> Result<u64, CacheError> {
        let closed = upload.close().await;
        if let Err(CacheError::NotFound(_)) = closed {
            // It is somebody else's to finish, or over.
            return if upload.is_sealing() { self.finished(&upload, size).await } else { closed.map(|()| 0) };
        }
        let sealed = match closed.and_then(|()| upload.content(size)) {
            Ok(unordered) => self.seal(&upload, size, unordered).await,
            Err(error) => Err(error),
        };
        let cache = self.clone();
        blocking(move || {
            // What has become an entry stays; else it goes.
            cache.state().forget(&upload);
            cache.0.disk.remove_upload(upload.id);
            if sealed.is_err() {
                cache.storage(&upload.place).remove(&upload.place, upload.id);
            }
            sealed
        })
        .await
    }

    async fn seal(
        &self,
        upload: &Arc<Upload>,
        size: u64,
        unordered: Option<Vec<Extent>>,
    ) -> Result<u64, CacheError> {
        let Inner { limits, clock, counts, .. } = &*self.0;
        let (id, repository) = (upload.id, &upload.place.repository);
        let file = self.ordered(upload, size, unordered).await?;
        if upload.place.scope.owner().is_none() {
            self.look(repository).await?;
        }
        let label = {
            let mut state = self.state();
            if state.index.at(&upload.place).is_some() {
                return Err(CacheError::Exists);
            }
            Label::new(upload.place.clone(), size, state.index.next_serial(), clock.day())
        };
        let storage = self.storage(&upload.place);
        let finished = Finished { id, label, file, path: upload.path.clone() };
        storage.store(&finished).await?;
        let surplus = |state: &State| state.index.above(repository, size, limits.repository);
        if surplus(&self.state()).is_some() {
            self.learn_uses(Some(repository)).await?;
        }
        while let Some(entry) = self.evict(surplus) {
            self.remove(&entry);
        }
        storage.publish(&finished).await?;
        let label = finished.label;
        let (place, serial, created) = (label.place.clone(), label.serial, label.created());
        let entry = Entry { id, place, size, serial, created, used: self.now() };
        let mut state = self.state();
        state.forget(upload);
        // Whoever looked into the bucket meanwhile may have seen it there first.
        if !state.index.add(entry) && !state.index.has_id(id) {
            return Err(CacheError::Exists);
        }
        drop(state);
        counts.saved.add(1);
        Ok(id)
    }

    /// The file that begins with the content: the upload's, or another one if its pieces must be put in order.
    async fn ordered(
        &self,
        upload: &Arc<Upload>,
        size: u64,
        unordered: Option<Vec<Extent>>,
    ) -> Result<Arc<File>, CacheError> {
        let Some(pieces) = unordered else { return Ok(upload.file.clone()) };
        let (cache, upload) = (self.clone(), upload.clone());
        blocking(move || {
            cache.make_room(None, size, || upload.space().begin_copy(size))?;
            let aside = cache.0.disk.ordered(upload.id);
            let file = Disk::create(&aside)?;
            let ordered = upload.reorder(&pieces, (&aside, file))?;
            upload.space().end_copy(size);
            Ok(Arc::new(ordered))
        })
        .await
    }

    /// A number that nothing has.
    fn fresh_id(&self) -> u64 {
        loop {
            let id = rand::random::<u64>() & SAFE;
            if id != 0 && !self.state().has_id(id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::upload::{Blocks, Coverage};
    use crate::{Limits, Options, Repository};

    fn opened(limits: Limits) -> (tempfile::TempDir, Cache, Session) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Options { limits, ..Options::new(dir.path(), "http://x") }).unwrap();
        let machine = MachineId::from_random([1; 8]);
        let grant = Grant::branch(Repository("o/r".to_owned()), "refs/heads/main", "refs/heads/main");
        cache.admit(&machine, grant);
        let session = cache.state().enter(machine, None, Duration::ZERO).unwrap();
        (dir, cache, session)
    }

    async fn begun(cache: &Cache, session: &Session, parts: Parts) -> Arc<Upload> {
        let named = (Version::new("v").unwrap(), Key::new("k").unwrap());
        let id = cache.create(session, named, parts).await.unwrap();
        cache.upload(&session.machine, id).unwrap()
    }

    #[tokio::test]
    async fn what_is_closed_does_not_change() {
        let (_dir, cache, session) = opened(Limits::default());
        let upload = begun(&cache, &session, Parts::Blocks(Blocks::default())).await;
        let empty = |blocks: &mut Blocks| blocks.list(Vec::new(), 0);
        upload.blocks(empty).unwrap();
        upload.close().await.unwrap();
        assert!(matches!(upload.blocks(empty), Err(CacheError::NotFound(_))));
        assert_eq!(upload.content(0).unwrap(), None);
    }

    /// A guest that makes its upload's list long holds up nobody else.
    #[tokio::test]
    async fn room_is_made_while_an_upload_changes() {
        let (_dir, cache, session) = opened(Limits { free: 0, ..Limits::default() });
        let upload = begun(&cache, &session, Parts::Blocks(Blocks::default())).await;
        let (sender, made) = std::sync::mpsc::channel();
        let other = cache.clone();
        let waited = upload.blocks(|_| {
            std::thread::spawn(move || sender.send(other.make_room(None, 0, || {})));
            Ok(made.recv_timeout(Duration::from_secs(20)))
        });
        waited.unwrap().expect("it waits for the upload").unwrap();
    }

    #[tokio::test]
    async fn what_is_being_saved_is_saved_though_its_client_goes() {
        let (_dir, cache, session) = opened(Limits { free: 0, ..Limits::default() });
        let upload = begun(&cache, &session, Parts::Ranges(Coverage::default())).await;
        // A write that goes on is waited for, and meanwhile the client goes.
        let writes = upload.claim(|_| Ok(Extent { at: 0, len: 0 })).unwrap();
        assert!(cache.finish(upload.clone(), 0).now_or_never().is_none());
        drop(writes);
        let saved = async {
            while cache.stats().uploads > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), saved).await.expect("nobody goes on with it");
        assert_eq!(cache.stats().saved, 1);
    }
}
