//! What a layer says itself of the directories that its marks stand in.
//!
//! A mark hides what lower layers have in a directory. Where the layer has an entry of its own for that directory, or
//! for one above it, the entry counts and not what a lower layer has there: a directory that took the place of a
//! symbolic link has nothing of the link's target to hide.

use std::collections::HashMap;

use crate::ImageError;
use crate::budget::Budget;
use crate::tarread::{Entry, EntryKind};

/// Index of a dir.
pub(crate) type DirId = u32;

/// The layer's last word on a dir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// There is something other than a symbolic link.
    Replaced,
    /// There is a symbolic link with this target.
    Link(&'a [u8]),
}

#[derive(Debug, Default)]
struct Dir<'a> {
    below: HashMap<&'a [u8], DirId>,
    said: Option<Said<'a>>,
}

/// The directories of one layer's marks and all above them, by the names that the layer gives them.
#[derive(Debug)]
pub(crate) struct MarkedDirs<'a> {
    dirs: Vec<Dir<'a>>,
}

pub(crate) const TOP: DirId = 0;

impl<'a> MarkedDirs<'a> {
    pub(crate) fn new() -> Self {
        Self { dirs: vec![Dir::default()] }
    }

    /// A directory in which a mark stands.
    pub(crate) fn add(&mut self, directory: &[&'a [u8]], budget: &Budget) -> Result<(), ImageError> {
        let mut here = TOP;
        for name in directory {
            budget.lookup()?;
            if let Some(next) = self.below(here, name) {
                here = next;
                continue;
            }
            budget.name(name.len())?;
            self.dirs.push(Dir::default());
            // The number of names is bounded far below 2^32.
            let next = DirId::try_from(self.dirs.len() - 1).unwrap_or(DirId::MAX);
            self.dirs[here as usize].below.insert(name, next);
            here = next;
        }
        Ok(())
    }

    /// Notes an entry, if it is for one of the dirs. All of them must have been added.
    pub(crate) fn note(&mut self, names: &[&[u8]], entry: &'a Entry) {
        let dir = names.iter().try_fold(TOP, |here, name| self.below(here, name));
        if let Some(dir) = dir {
            self.dirs[dir as usize].said = Some(match entry.kind {
                EntryKind::Symlink => Said::Link(&entry.link),
                _ => Said::Replaced,
            });
        }
    }

    pub(crate) fn below(&self, dir: DirId, name: &[u8]) -> Option<DirId> {
        self.dirs[dir as usize].below.get(name).copied()
    }

    pub(crate) fn said(&self, dir: DirId) -> Option<Said<'a>> {
        self.dirs[dir as usize].said
    }
}
