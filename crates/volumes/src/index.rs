//! What volumes there are.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::age;
use crate::card::{Card, Name, Writer};

/// A volume, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Which.
    pub name: Name,
    /// Its size as a disk.
    pub mib: u32,
    /// What it takes on the host's disk. Copies may share some of it.
    pub bytes: u64,
    /// Whose job wrote it.
    pub writer: Writer,
    /// When it was kept.
    pub kept_at: Timestamp,
    /// When a machine was given it last.
    pub last_used: SystemTime,
}

/// A volume, as it is found.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) card: Card,
    pub(crate) bytes: u64,
    /// By the clock since the boot.
    pub(crate) used: Duration,
}

/// Volumes by their directories.
#[derive(Debug, Default)]
pub(crate) struct Index(pub(crate) HashMap<String, Entry>);

impl Index {
    /// What all of them take on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.values().map(|entry| entry.bytes).sum()
    }

    /// The one used least lately, but for this one.
    pub(crate) fn oldest(&self, but: Option<&str>) -> Option<String> {
        let others = self.0.iter().filter(|(directory, _)| Some(directory.as_str()) != but);
        others.min_by_key(|(_, entry)| entry.used).map(|(directory, _)| directory.clone())
    }

    /// One that was used last before this.
    pub(crate) fn unused_since(&self, since: Duration) -> Option<String> {
        self.0.iter().find(|(_, entry)| entry.used < since).map(|(directory, _)| directory.clone())
    }

    /// All, those used last first.
    pub(crate) fn list(&self) -> Vec<Volume> {
        let mut all: Vec<&Entry> = self.0.values().collect();
        all.sort_by_key(|entry| Reverse(entry.used));
        let (now, day) = (age::now(), SystemTime::now());
        let volume = |entry: &Entry| Volume {
            name: entry.card.name.clone(),
            mib: entry.card.mib,
            bytes: entry.bytes,
            writer: entry.card.writer.clone(),
            kept_at: entry.card.kept_at,
            last_used: day.checked_sub(now.saturating_sub(entry.used)).unwrap_or(day),
        };
        all.into_iter().map(volume).collect()
    }
}
