//! An upload in blocks, as Azure has it: each has a name, they come in any order and more than once, and a list says at
//! the end which of them make up the content. Plain data: where in the upload's file each block is.
//!
//! A block gets its place when its transfer begins. Clients begin them in order, so that usually the file is the content
//! when the list comes, and nothing is copied.

use std::collections::HashMap;

use super::extent::Extent;
use crate::CacheError;
use crate::limits::BLOCKS;

/// A block's name, as it was sent.
pub(crate) type BlockId = String;

#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// Where the next block without a place of the same length begins.
    end: u64,
    /// Of transfers that failed, and of blocks that came again.
    free: Vec<Extent>,
    /// Not in a list yet.
    staged: HashMap<BlockId, Extent>,
    /// What the last list named.
    listed: Option<Vec<(BlockId, Extent)>>,
}

impl Blocks {
    /// A place for so many bytes; `limit` is that of the whole file.
    pub(crate) fn allocate(&mut self, len: u64, limit: u64) -> Result<Extent, CacheError> {
        if let Some(found) = self.free.iter().position(|free| free.len == len) {
            return Ok(self.free.swap_remove(found));
        }
        let end = self.end.checked_add(len).filter(|end| *end <= limit);
        let end = end.ok_or(CacheError::TooLarge { what: "the cache entry", limit })?;
        let extent = Extent { at: self.end, len };
        self.end = end;
        Ok(extent)
    }

    /// A transfer failed.
    pub(crate) fn give_back(&mut self, extent: Extent) {
        if extent.end() == self.end {
            self.end = extent.at;
        } else {
            self.free.push(extent);
        }
    }

    /// A block has come. One of the same name is forgotten.
    pub(crate) fn stage(&mut self, id: BlockId, extent: Extent) -> Result<(), CacheError> {
        let names = self.staged.len() + self.listed.as_ref().map_or(0, Vec::len);
        if names >= BLOCKS && !self.staged.contains_key(&id) {
            self.give_back(extent);
            return Err(CacheError::TooMany(format!("{BLOCKS} blocks of an upload")));
        }
        if let Some(earlier) = self.staged.insert(id, extent) {
            self.give_back(earlier);
        }
        Ok(())
    }

    /// These blocks in this order are the content. Blocks of the last list may be in it, so that a list that comes again
    /// changes nothing. Staged blocks that are not in it are gone.
    pub(crate) fn list(&mut self, ids: Vec<BlockId>, limit: u64) -> Result<(), CacheError> {
        let before: HashMap<_, _> =
            self.listed.iter().flatten().map(|(id, extent)| (id.as_str(), *extent)).collect();
        let mut listed = Vec::with_capacity(ids.len());
        let mut size = 0_u64;
        for id in ids {
            let extent = self.staged.get(&id).or_else(|| before.get(id.as_str())).copied();
            let extent = extent.ok_or_else(|| {
                CacheError::Invalid("the block list names a block that was not uploaded".to_owned())
            })?;
            size = size.saturating_add(extent.len);
            listed.push((id, extent));
        }
        if size > limit {
            return Err(CacheError::TooLarge { what: "the cache entry", limit });
        }
        self.staged.clear();
        self.listed = Some(listed);
        Ok(())
    }

    /// The content is this one piece, whatever came before.
    pub(crate) fn whole(&mut self, extent: Extent) {
        self.staged.clear();
        self.listed = Some(vec![(String::new(), extent)]);
    }

    /// The content's pieces in order, if it is known.
    pub(crate) fn content(&self) -> Option<Vec<Extent>> {
        Some(self.listed.as_ref()?.iter().map(|(_, extent)| *extent).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If each name were looked for among all others, this would take a hundred times as long.
    #[test]
    fn the_longest_list_comes_again() {
        let mut blocks = Blocks::default();
        for id in ["a", "b"] {
            let extent = blocks.allocate(1, 2).unwrap();
            blocks.stage(id.to_owned(), extent).unwrap();
        }
        let half = BLOCKS / 2;
        let ids: Vec<_> = ["a", "b"].iter().flat_map(|id| vec![(*id).to_owned(); half]).collect();
        let limit = BLOCKS as u64;
        for _ in 0..4 {
            blocks.list(ids.clone(), limit).unwrap();
        }
        assert_eq!(blocks.content().unwrap().len(), BLOCKS);
        // There are no more names than that, in a list or not.
        let extent = blocks.allocate(0, limit).unwrap();
        let more = blocks.stage("c".to_owned(), extent);
        assert!(matches!(more, Err(CacheError::TooMany(_))), "{more:?}");
        blocks.list(vec!["a".to_owned()], limit).unwrap();
        blocks.stage("c".to_owned(), extent).unwrap();
    }
}
