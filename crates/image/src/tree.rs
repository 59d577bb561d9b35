//! Flattening: layers applied one on another to one tree of names, without their content.
//!
//! The rules are those of the OCI image-spec (layer.md) where it speaks, and containerd's where it does not:
//!
//! - A whiteout (`.wh.NAME`) or opaque mark (`.wh..wh..opq`) hides only what lower layers have, wherever it stands in
//!   its layer, and only in the directory that the layer means (`marked_dirs.rs`). Other `.wh..wh.` names are aufs's own
//!   and ignored.
//! - A later entry replaces an earlier one of the same name; a directory on a directory only renews its attributes.
//! - Paths are taken from the image's root: a leading `/` is dropped, `..` takes back the
//!   name before it, as text, and is an error where it leads out of the image. A symbolic link as parent is
//!   followed inside the image's root. Missing parents become root-owned directories, mode 0755.
//! - A hard link shares what its target names at that moment, from this layer or a lower one, also when the target
//!   is replaced or hidden later. A target that does not exist, or is a directory, is an error.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::ImageError;
use crate::budget::Budget;
use crate::marked_dirs::{DirId, MarkedDirs, Said, TOP};
use crate::sparse::Sparse;
use crate::tarread::{Entry, EntryKind, PATH_MAX, Xattr};

/// Index of a name in the tree.
pub(crate) type NodeId = u32;
/// Index of what a name leads to.
pub(crate) type InodeId = u32;

pub(crate) const ROOT: NodeId = 0;
/// Longest file name of Linux and squashfs.
const NAME_MAX: usize = 255;
/// Deepest directory. Deeper ones serve only to break tools that recurse.
const DEPTH_MAX: usize = 512;
/// As Linux's limit on symbolic links in one lookup.
const LINKS_MAX: u32 = 40;

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    /// Content is `size` bytes of layer `layer` from `offset` on; of a sparse file, only the stored ones are there.
    File {
        layer: u32,
        offset: u64,
        size: u64,
        sparse: Option<Box<Sparse>>,
    },
    Symlink(Vec<u8>),
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// Attributes and kind; names that are hard links share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inode {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u32,
    pub xattrs: Vec<Xattr>,
}

#[derive(Debug)]
struct Node {
    inode: InodeId,
    /// Of directories only.
    children: BTreeMap<Arc<[u8]>, NodeId>,
}

/// The merged tree.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    inodes: Vec<Inode>,
    layers: u32,
    /// For what no entry of an archive has paid for.
    budget: Arc<Budget>,
}

fn implicit_directory() -> Inode {
    Inode { kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: Vec::new() }
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned()
}

fn fail(path: &[u8], why: &str) -> ImageError {
    ImageError::malformed(format!("layer entry '{}': {why}", shown(path)))
}

/// Splits an archive's path into names. `.` and `..` are resolved in the text alone, as container engines do: `a/../b` is `b`,
/// whatever `a` is. What leads out of the image is refused.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, ImageError> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            // Above the root is the root.
            b".." if names.pop().is_some() || path.starts_with(b"/") => {}
            b".." => return Err(fail(path, "its path has '..' and leads out of the image")),
            name => names.push(name),
        }
    }
    if names.iter().any(|c| c.len() > NAME_MAX) {
        return Err(fail(path, "a name in its path is longer than 255 bytes"));
    }
    if names.len() > DEPTH_MAX {
        return Err(fail(path, "it is more than 512 directories deep"));
    }
    Ok(names)
}

enum Mark<'a> {
    /// Hides this name.
    Whiteout(&'a [u8]),
    /// Hides all that the directory had.
    Opaque,
    /// Bookkeeping of aufs.
    Ignored,
}

fn mark<'a>(path: &[u8], name: &'a [u8]) -> Result<Option<Mark<'a>>, ImageError> {
    let Some(hidden) = name.strip_prefix(b".wh.") else { return Ok(None) };
    Ok(Some(match hidden {
        b".wh..opq" => Mark::Opaque,
        b"" | b"." | b".." => return Err(fail(path, "it is a whiteout without a name")),
        _ if hidden.starts_with(b".wh.") => Mark::Ignored,
        _ => Mark::Whiteout(hidden),
    }))
}

impl Tree {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        let root = Node { inode: 0, children: BTreeMap::new() };
        Self { nodes: vec![root], inodes: vec![implicit_directory()], layers: 0, budget }
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn inode_of(&self, node: NodeId) -> InodeId {
        self.nodes[node as usize].inode
    }

    pub(crate) fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id as usize]
    }

    pub(crate) fn inode_count(&self) -> usize {
        self.inodes.len()
    }

    /// Names in a directory, ordered by bytes.
    pub(crate) fn children(&self, node: NodeId) -> impl DoubleEndedIterator<Item = (&Arc<[u8]>, NodeId)> {
        self.nodes[node as usize].children.iter().map(|(name, id)| (name, *id))
    }

    /// Puts the next layer on top.
    pub(crate) fn apply(&mut self, entries: Vec<Entry>) -> Result<(), ImageError> {
        let layer = self.layers;
        self.layers += 1;
        self.hide_all(&entries)?;
        for entry in entries {
            self.put(entry, layer)?;
        }
        Ok(())
    }

    /// Hides what the layer's marks mean, before any of its entries is there.
    fn hide_all(&mut self, entries: &[Entry]) -> Result<(), ImageError> {
        let mut marks = Vec::new();
        for entry in entries {
            let names = components(&entry.path)?;
            let Some((last, parents)) = names.split_last() else { continue };
            if parents.iter().any(|name| name.starts_with(b".wh.")) && !parents[0].starts_with(b".wh..wh.") {
                return Err(fail(&entry.path, "a directory in its path has the name of a whiteout"));
            }
            match mark(&entry.path, last)? {
                None | Some(Mark::Ignored) => {}
                Some(mark) => marks.push((entry, mark)),
            }
        }
        if marks.is_empty() {
            return Ok(());
        }
        let mut dirs = MarkedDirs::new();
        for (entry, _) in &marks {
            let names = components(&entry.path)?;
            dirs.add(names.split_last().map_or(&[], |(_, parents)| parents), &self.budget)?;
        }
        for entry in entries {
            dirs.note(&components(&entry.path)?, entry);
        }
        // From the top: what hides a symbolic link comes before what seems to lie behind it.
        marks.sort_by_cached_key(|(entry, _)| components(&entry.path).map_or(0, |names| names.len()));
        for (entry, mark) in &marks {
            let names = components(&entry.path)?;
            let parents = names.split_last().map_or(&[][..], |(_, parents)| parents);
            let Some(parent) = self.directory(&entry.path, parents, Walk::Over(&dirs))? else { continue };
            let children = &mut self.nodes[parent as usize].children;
            match mark {
                Mark::Whiteout(name) => drop(children.remove(*name)),
                Mark::Opaque => children.clear(),
                Mark::Ignored => {}
            }
        }
        Ok(())
    }

    fn put(&mut self, entry: Entry, layer: u32) -> Result<(), ImageError> {
        let names = components(&entry.path)?;
        let Some((last, parents)) = names.split_last() else {
            if entry.kind != EntryKind::Directory {
                return Err(fail(&entry.path, "the image's root must be a directory"));
            }
            let inode = self.add_inode(to_inode(entry, layer));
            self.nodes[ROOT as usize].inode = inode;
            return Ok(());
        };
        if mark(&entry.path, last)?.is_some()
            || parents.first().is_some_and(|name| name.starts_with(b".wh..wh."))
        {
            return Ok(());
        }
        if entry.kind == EntryKind::HardLink {
            return self.link(&entry, last, parents);
        }
        if entry.kind == EntryKind::Symlink && entry.link.is_empty() {
            return Err(fail(&entry.path, "it is a symbolic link to nothing"));
        }
        let parent = self.parent(&entry.path, parents)?;
        let name: Arc<[u8]> = (*last).into();
        let existing = self.nodes[parent as usize].children.get(&name).copied();
        let directory = entry.kind == EntryKind::Directory;
        let inode = self.add_inode(to_inode(entry, layer));
        match existing {
            Some(node) if directory && self.is_directory(node) => self.nodes[node as usize].inode = inode,
            _ => {
                self.set_child(parent, name, inode);
            }
        }
        Ok(())
    }

    fn link(&mut self, entry: &Entry, name: &[u8], parents: &[&[u8]]) -> Result<(), ImageError> {
        let to = shown(&entry.link);
        let target = components(&entry.link)
            .map_err(|_| fail(&entry.path, &format!("it is a hard link to '{to}', outside of the image")))?;
        let missing = || fail(&entry.path, &format!("it is a hard link to '{to}', which does not exist"));
        let (target_name, target_parents) = target.split_last().ok_or_else(missing)?;
        let holder = self.directory(&entry.path, target_parents, Walk::Look)?.ok_or_else(missing)?;
        let node = *self.nodes[holder as usize].children.get(*target_name).ok_or_else(missing)?;
        if self.is_directory(node) {
            return Err(fail(&entry.path, &format!("it is a hard link to the directory '{to}'")));
        }
        let inode = self.inode_of(node);
        let parent = self.parent(&entry.path, parents)?;
        self.set_child(parent, name.into(), inode);
        Ok(())
    }

    fn parent(&mut self, path: &[u8], names: &[&[u8]]) -> Result<NodeId, ImageError> {
        let found = self.directory(path, names, Walk::Make)?;
        found.ok_or_else(|| fail(path, "its directory cannot be made"))
    }

    fn is_directory(&self, node: NodeId) -> bool {
        self.inode(self.inode_of(node)).kind == Kind::Directory
    }

    fn add_inode(&mut self, inode: Inode) -> InodeId {
        self.inodes.push(inode);
        // The number of entries is bounded far below 2^32.
        u32::try_from(self.inodes.len() - 1).unwrap_or(u32::MAX)
    }

    fn set_child(&mut self, parent: NodeId, name: Arc<[u8]>, inode: InodeId) -> NodeId {
        self.nodes.push(Node { inode, children: BTreeMap::new() });
        let id = u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX);
        self.nodes[parent as usize].children.insert(name, id);
        id
    }

    /// One that no entry has paid for: one long path stands for hundreds of them.
    fn make_directory(&mut self, path: &[u8], parent: NodeId, name: Arc<[u8]>) -> Result<NodeId, ImageError> {
        if name.starts_with(b".wh.") {
            return Err(fail(path, "a symbolic link in its path leads to the name of a whiteout"));
        }
        self.budget.name(name.len())?;
        let inode = self.add_inode(implicit_directory());
        Ok(self.set_child(parent, name, inode))
    }

    /// Finds a directory, following symbolic links inside the image.
    fn directory(
        &mut self,
        path: &[u8],
        names: &[&[u8]],
        walk: Walk<'_>,
    ) -> Result<Option<NodeId>, ImageError> {
        let mut trail = vec![ROOT];
        let mut place = Some(TOP);
        // The common case has no links and needs no copy of the names.
        let mut rest = names.iter();
        let mut pending: VecDeque<Arc<[u8]>> = VecDeque::new();
        let mut links = 0;
        loop {
            // What comes from a link's target is not what the layer calls by its name.
            let (name, said): (Arc<[u8]>, _) = match pending.pop_front() {
                Some(name) => (name, None),
                None => match rest.next() {
                    Some(name) => ((*name).into(), walk.said(&mut place, name)),
                    None => break,
                },
            };
            self.budget.lookup()?;
            if *name == b".."[..] {
                if trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let here = trail[trail.len() - 1];
            let found = self.nodes[here as usize].children.get(&name).copied();
            let kind = found.map(|node| &self.inode(self.inode_of(node)).kind);
            let target = match (said, kind) {
                (Some(Said::Link(target)), _) => Some(target),
                (None, Some(Kind::Symlink(target))) => Some(&target[..]),
                _ => None,
            };
            if let Some(target) = target {
                links += 1;
                if links > LINKS_MAX {
                    return Err(fail(path, "too many symbolic links in its path"));
                }
                if target.starts_with(b"/") {
                    trail.truncate(1);
                }
                let parts = target.split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".");
                for part in parts.rev() {
                    pending.push_front(part.into());
                }
                if pending.len() > PATH_MAX || pending.iter().any(|part| part.len() > NAME_MAX) {
                    return Err(fail(path, "a symbolic link in its path is too long"));
                }
                continue;
            }
            let next = match (found, kind) {
                (Some(node), Some(Kind::Directory)) => node,
                _ if matches!(walk, Walk::Make) => self.make_directory(path, here, name)?,
                _ => return Ok(None),
            };
            trail.push(next);
            if trail.len() > DEPTH_MAX {
                return Err(fail(path, "it is more than 512 directories deep"));
            }
        }
        Ok(trail.last().copied())
    }
}

/// How to find a directory.
#[derive(Clone, Copy)]
enum Walk<'a> {
    /// What is not there, or is something else, gives none.
    Look,
    /// As that, and what the layer says of a place counts before what is there.
    Over(&'a MarkedDirs<'a>),
    /// What is missing is made, and what is in the way is replaced.
    Make,
}

impl<'a> Walk<'a> {
    /// One name on along the path of the layer, and what the layer says of the place that it leads to.
    fn said(self, place: &mut Option<DirId>, name: &[u8]) -> Option<Said<'a>> {
        let Self::Over(dirs) = self else { return None };
        *place = place.and_then(|here| dirs.below(here, name));
        dirs.said((*place)?)
    }
}

fn to_inode(entry: Entry, layer: u32) -> Inode {
    let kind = match entry.kind {
        EntryKind::File | EntryKind::HardLink => {
            Kind::File { layer, offset: entry.offset, size: entry.size, sparse: entry.sparse }
        }
        EntryKind::Directory => Kind::Directory,
        EntryKind::Symlink => Kind::Symlink(entry.link),
        EntryKind::CharDevice { major, minor } => Kind::CharDevice { major, minor },
        EntryKind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
        EntryKind::Fifo => Kind::Fifo,
    };
    Inode { kind, mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs: entry.xattrs }
}
