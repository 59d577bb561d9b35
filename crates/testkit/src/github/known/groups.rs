//! Runner groups.

use std::collections::BTreeSet;

/// The id of every account's default runner group.
pub(in super::super) const DEFAULT_GROUP: u64 = 1;

/// A runner group.
#[derive(Debug, Clone)]
pub(in super::super) struct Group {
    pub(in super::super) id: u64,
    pub(in super::super) name: String,
    /// The repositories that it serves; all when none are named.
    pub(in super::super) selected: Option<BTreeSet<u64>>,
    /// Whether it serves public ones, which GitHub does not let a new group do.
    pub(in super::super) public: bool,
}

impl Group {
    pub(in super::super) fn new(id: u64, name: &str) -> Self {
        Self { id, name: name.to_owned(), selected: None, public: false }
    }

    /// The one that every account has.
    pub(in super::super) fn default_one() -> Self {
        Self::new(DEFAULT_GROUP, "Default")
    }
}
