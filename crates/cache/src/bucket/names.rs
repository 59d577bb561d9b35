//! What objects of a bucket are called. Names are hashes and numbers: nothing of a guest is in one.

use object_store::path::Path;
use sha2::{Digest as _, Sha256};

use crate::hex::hex;
use crate::index::EntryId;
use crate::{Place, Repository};

/// A later layout has another number, and shares nothing with this one.
const LAYOUT: &str = "v1";

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Content, by its entry's number.
    Content,
    /// What makes content an entry, by the place: there is one at most.
    Entry,
    /// Changed when an entry is used, by its number.
    Used,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Entry => "entries",
            Self::Used => "used",
        }
    }
}

#[derive(Debug)]
pub(super) struct Names {
    /// Without a slash at its end; it may be empty.
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.trim_matches('/').to_owned() }
    }

    fn path(&self, parts: &[&str]) -> Path {
        let prefix = self.prefix.split('/').filter(|part| !part.is_empty());
        prefix.chain([LAYOUT]).chain(parts.iter().copied()).collect()
    }

    /// All of a kind, or those of one repository.
    pub(super) fn all(&self, kind: Kind, repository: Option<&Repository>) -> Path {
        match repository {
            Some(repository) => self.path(&[kind.as_str(), &directory(repository)]),
            None => self.path(&[kind.as_str()]),
        }
    }

    pub(super) fn entry(&self, place: &Place) -> Path {
        self.path(&[Kind::Entry.as_str(), &directory(&place.repository), &self::place(place)])
    }

    pub(super) fn numbered(&self, kind: Kind, repository: &Repository, id: EntryId) -> Path {
        self.path(&[kind.as_str(), &directory(repository), &format!("{id:016x}")])
    }

    /// Rewritten to learn what time it is at the bucket.
    pub(super) fn clock(&self) -> Path {
        self.path(&["clock"])
    }
}

/// The number at the end of a name.
pub(super) fn number(path: &Path) -> Option<EntryId> {
    u64::from_str_radix(path.filename()?, 16).ok()
}

fn directory(repository: &Repository) -> String {
    hex(&Sha256::digest(repository.0.as_bytes())[..16])
}

fn place(place: &Place) -> String {
    let mut hash = Sha256::new();
    for part in [place.scope.0.as_str(), place.version.as_str(), place.key.as_str()] {
        // With its length, so that no two lists of parts look alike.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}
