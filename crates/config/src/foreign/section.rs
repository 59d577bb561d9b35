//! Changing a tree.

use std::ops::Range;

use crate::tree::{self, Entry, Node, Value};

/// Ids for new values of a tree.
pub(crate) struct Ids(u32);

impl Ids {
    /// Those after all that the tree has.
    pub(crate) fn after(root: &Node) -> Self {
        fn last(node: &Node) -> u32 {
            let below = match &node.value {
                Value::Map(entries) => entries.iter().map(|entry| last(&entry.value)).max(),
                Value::List(items) => items.iter().map(last).max(),
                _ => None,
            };
            below.unwrap_or(0).max(node.id)
        }
        Self(last(root))
    }

    fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

/// An entry with a section in it, all of it at a place of the file.
pub(crate) fn section(key: &str, entries: Vec<Entry>, at: &Range<usize>, ids: &mut Ids) -> Entry {
    let value = Node { id: ids.next(), span: at.clone(), plain: None, value: Value::Map(entries) };
    Entry { key: key.to_owned(), key_span: at.clone(), value }
}

/// Lines of a file as entries, all of them at a place of the one that is read.
pub(crate) fn lines(text: &str, at: &Range<usize>, ids: &mut Ids) -> Vec<Entry> {
    fn place(node: &mut Node, at: &Range<usize>, ids: &mut Ids) {
        node.id = ids.next();
        node.span = at.clone();
        match &mut node.value {
            Value::Map(entries) => {
                for entry in entries {
                    entry.key_span = at.clone();
                    place(&mut entry.value, at, ids);
                }
            }
            Value::List(items) => items.iter_mut().for_each(|item| place(item, at, ids)),
            _ => {}
        }
    }
    let Ok(mut node) = tree::parse(text) else { return Vec::new() };
    place(&mut node, at, ids);
    match node.value {
        Value::Map(entries) => entries,
        _ => Vec::new(),
    }
}

/// Gives `visit` each section that the pattern names, and its path.
pub(super) fn each(node: &mut Node, pattern: &[&str], path: &str, visit: &mut dyn FnMut(&mut Node, &str)) {
    let Some((first, rest)) = pattern.split_first() else {
        return visit(node, path);
    };
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries.iter_mut().filter(|entry| *first == "*" || entry.key == *first) {
                let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
                each(&mut entry.value, rest, &path, visit);
            }
        }
        Value::List(items) if *first == "*" => {
            for (index, item) in items.iter_mut().enumerate() {
                each(item, rest, &format!("{path}[{index}]"), visit);
            }
        }
        _ => {}
    }
}

/// The value at the end of a path of keys.
pub(super) fn at_mut<'a>(node: &'a mut Node, path: &[&str]) -> Option<&'a mut Node> {
    path.iter().try_fold(node, |node, key| {
        let Value::Map(entries) = &mut node.value else { return None };
        entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
    })
}

/// Puts an entry's value to a path of a section; not, when the file has something there.
pub(crate) fn put(section: &mut Node, path: &[&str], mut entry: Entry, ids: &mut Ids) -> bool {
    let Value::Map(entries) = &mut section.value else { return false };
    let Some((first, rest)) = path.split_first() else { return false };
    let index = entries.iter().position(|entry| entry.key == *first);
    if !rest.is_empty() {
        let index = index.unwrap_or_else(|| {
            let at = entry.key_span.clone();
            entries.push(self::section(first, Vec::new(), &at, ids));
            entries.len() - 1
        });
        // `key:` without anything behind it is a section, too.
        if matches!(entries[index].value.value, Value::Null) {
            entries[index].value.value = Value::Map(Vec::new());
        }
        return put(&mut entries[index].value, rest, entry, ids);
    }
    (*first).clone_into(&mut entry.key);
    match index {
        None => entries.push(entry),
        Some(index) if !entries[index].value.is_given() => entries[index] = entry,
        Some(_) => return false,
    }
    true
}
