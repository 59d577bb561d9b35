//! All entries, in memory. Plain data: what is found, and what goes first when room is needed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use crate::limits::ENTRIES;
use crate::{Grant, Key, Place, Repository, Scope, Version};

/// An entry's number: random, so that no address of an earlier entry leads to a later one. It fits the integers of
/// JavaScript, which clients count in.
pub(crate) type EntryId = u64;

/// A finished entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, which is its file's name.
    pub id: u64,
    /// What it is called.
    pub place: Place,
    /// Of its content, in bytes.
    pub size: u64,
    /// Higher than that of all entries that were there before it, whatever the clock said.
    pub serial: u64,
    /// When it was saved, for people.
    pub created: SystemTime,
    /// When it was used last, by the clock since the boot.
    pub used: Duration,
}

/// What one repository has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: BTreeMap<Place, Entry>,
    places: HashMap<EntryId, Place>,
    /// Used least lately first.
    order: BTreeSet<(Duration, EntryId)>,
    sums: HashMap<Repository, Sum>,
    bytes: u64,
    /// Of entries that are for one job alone.
    alone: u64,
    serial: u64,
}

impl Index {
    /// Adds an entry. One that has its place already stays; then nothing changes.
    pub(crate) fn add(&mut self, entry: Entry) -> bool {
        if self.entries.contains_key(&entry.place) || self.places.contains_key(&entry.id) {
            return false;
        }
        self.serial = self.serial.max(entry.serial);
        self.order.insert((entry.used, entry.id));
        self.places.insert(entry.id, entry.place.clone());
        let sum = self.sums.entry(entry.place.repository.clone()).or_default();
        sum.entries += 1;
        sum.bytes += entry.size;
        self.bytes += entry.size;
        if entry.place.scope.owner().is_some() {
            self.alone += entry.size;
        }
        self.entries.insert(entry.place.clone(), entry);
        true
    }

    pub(crate) fn remove(&mut self, id: EntryId) -> Option<Entry> {
        let place = self.places.remove(&id)?;
        let entry = self.entries.remove(&place)?;
        self.order.remove(&(entry.used, id));
        self.bytes -= entry.size;
        if place.scope.owner().is_some() {
            self.alone -= entry.size;
        }
        if let Some(sum) = self.sums.get_mut(&place.repository) {
            sum.entries -= 1;
            sum.bytes -= entry.size;
            if sum.entries == 0 {
                self.sums.remove(&place.repository);
            }
        }
        Some(entry)
    }

    /// The number of the next entry.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn at(&self, place: &Place) -> Option<&Entry> {
        self.entries.get(place)
    }

    pub(crate) fn has_id(&self, id: EntryId) -> bool {
        self.places.contains_key(&id)
    }

    pub(crate) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(self.places.get(&id)?)
    }

    /// What a job finds: in each of its scopes, by each key, first exactly, then the newest that begins so.
    pub(crate) fn find(&self, grant: &Grant, version: &Version, keys: &[Key]) -> Option<&Entry> {
        grant.reads.iter().find_map(|scope| {
            keys.iter().find_map(|key| {
                let begins = || self.beginning(&grant.repository, scope, version, key);
                let exact = begins().next().filter(|entry| entry.place.key == *key);
                exact.or_else(|| begins().max_by_key(|entry| (entry.serial, entry.id)))
            })
        })
    }

    fn beginning<'a>(
        &'a self,
        repository: &Repository,
        scope: &Scope,
        version: &Version,
        key: &Key,
    ) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let first = Place {
            repository: repository.clone(),
            scope: scope.clone(),
            version: version.clone(),
            key: key.clone(),
        };
        let range = self.entries.range((Bound::Included(first.clone()), Bound::Unbounded));
        range
            .take_while(move |(place, _)| {
                place.repository == first.repository
                    && place.scope == first.scope
                    && place.version == first.version
                    && place.key.as_str().starts_with(first.key.as_str())
            })
            .map(|(_, entry)| entry)
    }

    /// Notes that an entry was used.
    pub(crate) fn touch(&mut self, id: EntryId, now: Duration) {
        self.set_used(id, |used| used.max(now));
    }

    /// Changes when an entry was used last.
    pub(crate) fn set_used(&mut self, id: EntryId, used: impl FnOnce(Duration) -> Duration) {
        let Some(entry) = self.places.get(&id).and_then(|place| self.entries.get_mut(place)) else { return };
        self.order.remove(&(entry.used, id));
        entry.used = used(entry.used);
        self.order.insert((entry.used, id));
    }

    /// The entry used least lately, if it was not used since `since`.
    pub(crate) fn oldest(&self, since: Option<Duration>) -> Option<EntryId> {
        let (used, id) = self.order.first()?;
        since.is_none_or(|since| *used <= since).then_some(*id)
    }

    /// Of those for one job alone, the entry used least lately.
    pub(crate) fn oldest_alone(&self) -> Option<EntryId> {
        let is_alone = |id: &EntryId| self.get(*id).is_some_and(|entry| entry.place.scope.owner().is_some());
        self.order.iter().map(|(_, id)| *id).find(is_alone)
    }

    /// The entry of a repository used least lately, if another of `more` bytes takes it above its limits.
    pub(crate) fn above(&self, repository: &Repository, more: u64, limit: u64) -> Option<EntryId> {
        let sum = self.sum(repository);
        if sum.entries < ENTRIES && sum.bytes.saturating_add(more) <= limit {
            return None;
        }
        self.order
            .iter()
            .map(|(_, id)| *id)
            .find(|id| self.places.get(id).is_some_and(|place| place.repository == *repository))
    }

    pub(crate) fn sum(&self, repository: &Repository) -> Sum {
        self.sums.get(repository).copied().unwrap_or_default()
    }

    /// Of all entries.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of entries for one job alone.
    pub(crate) fn alone(&self) -> u64 {
        self.alone
    }

    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.values()
    }
}
