//! What the bucket is known to have, by the names of entries. Plain data.

use std::collections::{BTreeMap, HashMap, HashSet};

use object_store::ObjectMeta;
use object_store::path::Path;
use tokio::time::Instant;

use crate::index::EntryId;

/// One object, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The bucket's word for what is in it.
    pub(super) etag: Option<String>,
    /// When it was written, in milliseconds of the bucket's time of day.
    pub(super) written: i64,
}

impl From<&ObjectMeta> for Mark {
    fn from(meta: &ObjectMeta) -> Self {
        Self { etag: meta.e_tag.clone(), written: meta.last_modified.timestamp_millis() }
    }
}

/// What is at the name of an entry.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// None where it is no entry.
    pub(super) id: Option<EntryId>,
    pub(super) mark: Mark,
}

/// What this host last did to mark an entry as used.
#[derive(Debug, Clone)]
pub(super) struct Touched {
    pub(super) at: Instant,
    /// None while it is under way, or if the bucket has no word for it.
    pub(super) etag: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    entries: BTreeMap<Path, Known>,
    pub(super) touched: HashMap<EntryId, Touched>,
    /// On their way out: they are no entries although a listing may still show them.
    pub(super) going: HashSet<EntryId>,
}

impl Seen {
    pub(super) fn at(&self, name: &Path) -> Option<&Known> {
        self.entries.get(name)
    }

    pub(super) fn put(&mut self, name: Path, known: Known) {
        self.entries.insert(name, known);
    }

    /// Forgets what is at a name, if it is still this.
    pub(super) fn forget(&mut self, name: &Path, id: Option<EntryId>) {
        if self.entries.get(name).is_some_and(|known| known.id == id) {
            self.entries.remove(name);
            if let Some(id) = id {
                self.touched.remove(&id);
            }
        }
    }

    /// All below a path.
    pub(super) fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a Path, &'a Known)> + 'a {
        self.entries.range(path.clone()..).take_while(|(name, _)| name.prefix_matches(path))
    }
}
