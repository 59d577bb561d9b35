//! Runners and what became of them.

use std::collections::BTreeMap;

use super::accounts::Owner;

/// Why a runner is no longer registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerFate {
    /// It was ephemeral and its job ended.
    Used,
    /// It was ephemeral and its job was cancelled: it was never told.
    Cancelled,
    /// A client deleted it.
    DeletedByApi,
    /// A person deleted it.
    DeletedByHand,
}

/// A runner as the forge sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its id.
    pub id: u64,
    /// What it authenticates with, beside its token.
    pub uuid: String,
    /// Not unique.
    pub name: String,
    /// What it said last, by Register or Declare.
    pub labels: Vec<String>,
    /// What it said last.
    pub version: String,
    /// Gone after one job.
    pub ephemeral: bool,
    /// Gets no jobs.
    pub disabled: bool,
    /// The task that it has, or had last.
    pub task: Option<u64>,
    /// What became of it, when it is no longer registered.
    pub fate: Option<RunnerFate>,
}

#[derive(Debug, Clone)]
pub(in super::super) struct Entry {
    pub(in super::super) public: Runner,
    pub(in super::super) owner: Owner,
    pub(in super::super) token: String,
    pub(in super::super) description: String,
    /// Whether its labels were ever said.
    pub(in super::super) labelled: bool,
    /// When it asked for anything last, in seconds since the epoch; 0 is never.
    pub(in super::super) online: i64,
    /// When it told of its task last.
    pub(in super::super) active: i64,
}

#[derive(Debug, Default)]
pub(in super::super) struct Runners {
    /// Those that are gone included.
    pub(in super::super) entries: BTreeMap<u64, Entry>,
    /// How often the jobs of each owner changed.
    pub(in super::super) versions: BTreeMap<Owner, i64>,
}

impl Runners {
    /// A registered one.
    pub(in super::super) fn get(&self, id: u64) -> Option<&Entry> {
        self.entries.get(&id).filter(|entry| entry.public.fate.is_none())
    }

    pub(in super::super) fn registered(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.public.fate.is_none())
    }
}
