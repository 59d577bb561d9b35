//! What goes: to make room, because nobody uses it, or because its job has ended.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Cache, Inner};
use crate::index::Entry;
use crate::state::State;
use crate::upload::Upload;
use crate::{CacheError, Repository};

/// What a cleaning removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that are left.
    pub left: u64,
}

impl Cache {
    /// Removes what the limits demand, and then, those used least lately first, what nobody used for so long and what is above so
    /// many bytes. It blocks.
    pub fn clean(&self, most: Option<u64>, unused_for: Option<Duration>) -> Cleaned {
        self.sweep();
        let since = unused_for.map(|time| self.now().saturating_sub(time));
        let goes = |state: &State| {
            let unused = since.and_then(|since| state.index.oldest(Some(since)));
            let surplus =
                || state.index.oldest(None).filter(|_| most.is_some_and(|most| state.index.bytes() > most));
            unused.or_else(surplus)
        };
        let mut cleaned = Cleaned::default();
        while let Some(entry) = self.evict(goes) {
            self.remove(&entry);
            cleaned.entries += 1;
            cleaned.bytes += entry.size;
        }
        Cleaned { left: self.state().index.bytes(), ..cleaned }
    }

    /// Removes what is too old, and what is above the limits. It blocks.
    pub fn sweep(&self) {
        let now = self.now();
        let since = now.saturating_sub(self.0.limits.upload_idle);
        let idle = |upload: &&Arc<Upload>| upload.touched() < since;
        let stale: Vec<_> = self.state().uploads().filter(idle).cloned().collect();
        for upload in stale {
            self.discard(&upload);
        }
        self.remove_alone();
        let unused = now.saturating_sub(self.0.limits.idle);
        while let Some(entry) = self.evict(|state| state.index.oldest(Some(unused))) {
            self.remove(&entry);
        }
        if let Err(error) = self.make_room(None, 0, || {}) {
            tracing::debug!(%error, "the cache is empty, and still there is little room");
        }
    }

    /// Removes what was saved for one job alone and is of no use to any other.
    pub(super) fn remove_alone(&self) {
        let left: Vec<_> = {
            let mut state = self.state();
            let ended =
                |entry: &&Entry| entry.place.scope.owner().is_some_and(|machine| !state.has_job(machine));
            let ids: Vec<_> = state.index.all().filter(ended).map(|entry| entry.id).collect();
            ids.into_iter().filter_map(|id| state.index.remove(id)).collect()
        };
        for entry in left {
            self.remove(&entry);
        }
    }

    pub(super) fn discard(&self, upload: &Arc<Upload>) {
        if upload.end() {
            self.state().forget(upload);
            self.0.disk.remove_upload(upload.id);
        }
    }

    /// Removes an entry that is out of the index already.
    pub(super) fn remove(&self, entry: &Entry) {
        self.storage(&entry.place).remove(&entry.place, entry.id);
    }

    /// Takes an entry out of the index; what it is in is the caller's to remove.
    pub(super) fn evict(&self, which: impl FnOnce(&State) -> Option<u64>) -> Option<Entry> {
        let mut state = self.state();
        let id = which(&state)?;
        let entry = state.index.remove(id);
        self.0.counts.evicted.add(1);
        entry
    }

    /// Removes the entries used least lately, until the limits are kept and so many more bytes fit on the disk beside all
    /// that is still to come; a part of an upload of `repository` counts for its limits, too. If it cannot be had, that is
    /// said before anything goes. What `grant` does is done before anybody else is given room. It blocks.
    pub(super) fn make_room(
        &self,
        repository: Option<&Repository>,
        wanted: u64,
        grant: impl FnOnce(),
    ) -> Result<(), CacheError> {
        let Inner { disk, limits, room, .. } = &*self.0;
        let _alone = room.lock().unwrap_or_else(PoisonError::into_inner);
        let part = if repository.is_some() { wanted } else { 0 };
        loop {
            // Asked before what is free: what is written meanwhile counts twice rather than not at all.
            let (pending, entries, on_disk) = {
                let state = self.state();
                let bytes = state.index.bytes();
                let on_disk = if self.0.bucket.is_some() { state.index.alone() } else { bytes };
                (state.pending(repository), bytes, on_disk)
            };
            let all = pending.all.saturating_add(part);
            if pending.own.saturating_add(part) > limits.repository || all > limits.total {
                return Err(CacheError::NoRoom { wanted });
            }
            let free = disk.free()?;
            let needed = limits.free.saturating_add(pending.unwritten).saturating_add(wanted);
            if entries.saturating_add(all) <= limits.total && free >= needed {
                grant();
                return Ok(());
            }
            if wanted > 0 && free.saturating_add(on_disk) < needed {
                return Err(CacheError::NoRoom { wanted });
            }
            let above = entries.saturating_add(all) > limits.total;
            let goes = |state: &State| match &self.0.bucket {
                // What is in the bucket takes no room on the disk.
                Some(_) if !above => state.index.oldest_alone(),
                _ => state.index.oldest(None),
            };
            let evicted = self.evict(goes).ok_or(CacheError::NoRoom { wanted })?;
            self.remove(&evicted);
        }
    }
}
