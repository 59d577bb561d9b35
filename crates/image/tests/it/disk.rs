//! What a file system would be after each layer was unpacked on it, entry by entry, as umoci and containerd do it. Enough of
//! one for layers as they come from a build: parents before children, a directory's opaque mark before its children.

use std::collections::BTreeMap;

use crate::common::Item;
use tar::EntryType;

/// What is at a path: what it is and says, and the first path of the same inode.
pub(crate) type Shown = BTreeMap<String, (String, String)>;

#[derive(Debug, Clone)]
enum What {
    Dir(BTreeMap<String, usize>, u32),
    File(String),
    Link(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Disk(Vec<What>);

const LINKS_MAX: usize = 40;

fn names(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

/// Parent and last name.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self(vec![What::Dir(BTreeMap::new(), 0o755)])
    }

    fn children(&mut self, directory: usize) -> &mut BTreeMap<String, usize> {
        match &mut self.0[directory] {
            What::Dir(children, _) => children,
            other => panic!("{other:?} is no directory"),
        }
    }

    /// The directory that a path leads to, links followed.
    fn directory(&self, path: &str) -> Option<usize> {
        let mut trail = vec![0];
        let mut todo: Vec<String> = names(path).rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == ".." {
                trail.truncate((trail.len() - 1).max(1));
                continue;
            }
            let What::Dir(children, _) = &self.0[*trail.last()?] else { return None };
            let next = *children.get(&name)?;
            match &self.0[next] {
                What::File(_) => return None,
                What::Dir(..) => trail.push(next),
                What::Link(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return None;
                    }
                    if target.starts_with('/') {
                        trail.truncate(1);
                    }
                    todo.extend(names(target).rev().map(str::to_owned));
                }
            }
        }
        trail.last().copied()
    }

    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.directory(path).is_some()
    }

    /// Whether all above a path is directories, and no links lead there.
    pub(crate) fn is_plain(&self, directory: &str) -> bool {
        let mut here = 0;
        names(directory).all(|name| {
            let What::Dir(children, _) = &self.0[here] else { return false };
            children.get(name).is_some_and(|next| {
                here = *next;
                matches!(self.0[here], What::Dir(..))
            })
        })
    }

    /// The paths of all that a hard link may name.
    pub(crate) fn linkable(&self) -> Vec<String> {
        self.shown()
            .into_iter()
            .filter(|(_, (what, _))| !what.starts_with("dir"))
            .map(|(path, _)| path)
            .collect()
    }

    pub(crate) fn unpack(&mut self, item: &Item) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (path, link) = (text(&item.path), text(&item.link));
        let (parent, name) = split(&path);
        let parent = self.directory(parent).unwrap_or_else(|| panic!("{path} has no directory"));
        if name == ".wh..wh..opq" {
            return self.children(parent).clear();
        }
        if let Some(hidden) = name.strip_prefix(".wh.") {
            self.children(parent).remove(hidden);
            return;
        }
        if item.kind == EntryType::Link {
            let (above, last) = split(&link);
            let target = self.directory(above).and_then(|above| self.children(above).get(last).copied());
            self.children(parent).insert(name.into(), target.unwrap());
            return;
        }
        let old = self.children(parent).get(name).copied();
        if let (EntryType::Directory, Some(What::Dir(_, mode))) = (item.kind, old.map(|old| &mut self.0[old]))
        {
            *mode = item.mode;
            return;
        }
        self.0.push(match item.kind {
            EntryType::Directory => What::Dir(BTreeMap::new(), item.mode),
            EntryType::Symlink => What::Link(link),
            _ => What::File(text(&item.data)),
        });
        let new = self.0.len() - 1;
        self.children(parent).insert(name.into(), new);
    }

    pub(crate) fn shown(&self) -> Shown {
        let mut all = Vec::new();
        let mut todo = vec![(String::new(), 0)];
        while let Some((path, inode)) = todo.pop() {
            let what = match &self.0[inode] {
                What::Dir(children, mode) => {
                    let below = |name: &String| {
                        if path.is_empty() { String::clone(name) } else { format!("{path}/{name}") }
                    };
                    todo.extend(children.iter().map(|(name, inode)| (below(name), *inode)));
                    format!("dir {mode:o}")
                }
                What::File(content) => format!("file {content}"),
                What::Link(target) => format!("link to {target}"),
            };
            if !path.is_empty() {
                all.push((path, what, inode));
            }
        }
        with_first(all)
    }
}

/// Replaces the number of each inode by the first of its paths.
pub(crate) fn with_first<I: Ord + Copy>(mut all: Vec<(String, String, I)>) -> Shown {
    all.sort();
    let mut first = BTreeMap::new();
    for (path, _, inode) in &all {
        first.entry(*inode).or_insert_with(|| path.clone());
    }
    all.into_iter().map(|(path, what, inode)| (path, (what, first[&inode].clone()))).collect()
}
