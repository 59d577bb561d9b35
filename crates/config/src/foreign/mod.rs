//! What stands in files of other programs of this kind: keys that mean something else here, or nothing, or must not stand
//! in a file at all.
//!
//! Before a file is read into its types, each such key (one line of [`keys`] or [`fireteact`]) is taken out of the tree,
//! and what it means here is put into its place. A note tells what was done: an error or a warning when the file is
//! loaded, a comment when it is migrated. So the message that tells people what to write, and what `migrate` writes, are
//! one thing.

mod dialect;
mod fireteact;
mod keys;
mod section;

use std::collections::HashSet;
use std::ops::Range;

use crate::problem::Problem;
use crate::tree::{Entry, Node, Value};

pub(crate) use dialect::{Dialect, of as dialect};
pub(crate) use section::{Ids, lines};

/// A key of another program.
struct Foreign {
    /// The sections in which it may be; `*` is each of a list, or each section of this one.
    section: &'static [&'static str],
    /// Its path in them.
    key: &'static [&'static str],
    /// What a value of it means.
    means: fn(&mut Node) -> Means,
    /// Whether only files of other programs have it: who writes a file for us does not come to write it.
    theirs: bool,
}

const fn foreign(
    section: &'static [&'static str],
    key: &'static [&'static str],
    means: fn(&mut Node) -> Means,
) -> Foreign {
    Foreign { section, key, means, theirs: false }
}

const fn theirs(
    section: &'static [&'static str],
    key: &'static [&'static str],
    means: fn(&mut Node) -> Means,
) -> Foreign {
    Foreign { section, key, means, theirs: true }
}

/// What a foreign key means here.
enum Means {
    /// What it means in our own files.
    Ours,
    /// The value was put into another form.
    Read { at: Range<usize>, what: String, help: String },
    /// What happens here in any case: why.
    Anyway(&'static str),
    /// Nothing: why, and what to do about it.
    Unused(&'static str, &'static str),
    /// What another key of the section means.
    Moved(&'static [&'static str]),
    /// The same under another name, in a file that is known to be of the other program.
    Renamed(&'static [&'static str]),
    /// It must not stand in a file.
    Refused(&'static Refused),
}

/// A key that must not stand in a file.
struct Refused {
    /// Why.
    why: &'static str,
    /// The line that stands for it.
    line: &'static str,
    /// What else is to be done.
    todo: &'static str,
}

/// What was done about one foreign key.
pub(crate) struct Note {
    /// The section in which it was.
    pub(crate) section: u32,
    /// The key before which a comment about it stands; without one, at the section's beginning.
    pub(crate) before: Option<String>,
    /// The comment, for a migrated file.
    pub(crate) comment: String,
    severity: Severity,
}

enum Severity {
    Silent,
    Warning(Problem),
    Error(Problem),
}

/// What was done about all of them.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) all: Vec<Note>,
    warned: HashSet<String>,
    /// The first key that only files of other programs have.
    theirs: Option<Range<usize>>,
}

impl Notes {
    /// Adds a comment for a migrated file.
    pub(crate) fn comment(&mut self, section: u32, before: Option<&str>, comment: impl Into<String>) {
        let before = before.map(str::to_owned);
        self.all.push(Note { section, before, comment: comment.into(), severity: Severity::Silent });
    }

    /// Divides them into errors and warnings.
    pub(crate) fn problems(self) -> (Vec<Problem>, Vec<Problem>) {
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for note in self.all {
            match note.severity {
                Severity::Silent => {}
                Severity::Warning(problem) => warnings.push(problem),
                Severity::Error(problem) => errors.push(problem),
            }
        }
        (errors, warnings)
    }
}

/// Puts our own keys into the place of those of hostinger's and thpham's fireactions.
pub(crate) fn translate(root: &mut Node, ids: &mut Ids) -> Notes {
    let mut notes = Notes::default();
    for foreign in keys::SECRETS.iter().chain(keys::THEIRS) {
        apply(foreign, root, ids, &mut notes);
    }
    if let Some(first) = notes.theirs.clone() {
        keys::defaults(root, first, ids, &mut notes);
    }
    notes
}

/// The same for a file of fireteact.
pub(crate) fn translate_fireteact(root: &mut Node, ids: &mut Ids) -> Notes {
    let mut notes = Notes::default();
    for foreign in fireteact::KEYS {
        apply(foreign, root, ids, &mut notes);
    }
    fireteact::scope(root, ids, &mut notes);
    for foreign in keys::THEIRS {
        apply(foreign, root, ids, &mut notes);
    }
    notes
}

fn apply(foreign: &Foreign, root: &mut Node, ids: &mut Ids, notes: &mut Notes) {
    section::each(root, foreign.section, "", &mut |section, path| {
        apply_in(foreign, section, path, ids, notes);
    });
}

/// The keys of one section.
fn apply_in(foreign: &Foreign, section: &mut Node, path: &str, ids: &mut Ids, notes: &mut Notes) {
    let Some((key, parents)) = foreign.key.split_last() else { return };
    let Some(holder) = section::at_mut(section, parents) else { return };
    let holder_id = holder.id;
    let Value::Map(entries) = &mut holder.value else { return };
    if !entries.iter().any(|entry| entry.key == *key) {
        return;
    }
    // Without the place in a list: it is the same for all pools, and told once.
    let name = foreign.section.iter().skip_while(|part| **part != "*").filter(|part| **part != "*");
    let name = name.chain(foreign.key).copied().collect::<Vec<_>>().join(".");
    let key_path = foreign.key.join(".");
    let full = if path.is_empty() { key_path } else { format!("{path}.{key_path}") };
    let mut moved: Vec<(&[&str], bool, Entry)> = Vec::new();
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    let known: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    for mut entry in std::mem::take(entries) {
        if entry.key != *key {
            kept.push(entry);
            continue;
        }
        let at = entry.key_span.clone();
        if foreign.theirs && notes.theirs.as_ref().is_none_or(|first| at.start < first.start) {
            notes.theirs = Some(at.clone());
        }
        let mut note = |before: Option<&str>, comment: String, severity| {
            let before = before.map(str::to_owned);
            notes.all.push(Note { section: holder_id, before, comment, severity });
        };
        match (foreign.means)(&mut entry.value) {
            Means::Ours => kept.push(entry),
            Means::Read { at, what, help } => {
                let problem = Problem::new(at, format!("{full}: {what}")).help(help);
                note(Some(key), what, Severity::Warning(problem));
                kept.push(entry);
            }
            Means::Anyway(why) => note(None, format!("{key} is gone: {why}"), Severity::Silent),
            Means::Unused(why, help) => {
                let message = format!("{name} is not used: {why}");
                let comment = format!("{key} is gone: {why}");
                let severity = if notes.warned.insert(message.clone()) {
                    Severity::Warning(Problem::new(at, message).help(help).without_rest())
                } else {
                    Severity::Silent
                };
                let note = Note { section: holder_id, before: None, comment, severity };
                notes.all.push(note);
            }
            Means::Moved(to) => moved.push((to, true, entry)),
            Means::Renamed(to) => moved.push((to, false, entry)),
            Means::Refused(Refused { why, line, todo }) => {
                let message = format!("{full}: {why}");
                let help = format!("write '{line}' in its place, and {todo}");
                let problem = Problem::new(at.clone(), message).help(help).without_rest();
                let new = lines(line, &at, ids);
                let there =
                    |new: &Entry| known.contains(&new.key) || kept.iter().any(|old| old.key == new.key);
                let new: Vec<Entry> = new.into_iter().filter(|entry| !there(entry)).collect();
                match new.first() {
                    Some(entry) => {
                        let comment = format!("In place of {key}: {todo}");
                        note(Some(&entry.key), comment, Severity::Error(problem));
                    }
                    None => note(None, format!("{key} is gone: {why}"), Severity::Error(problem)),
                }
                kept.extend(new);
            }
        }
    }
    *entries = kept;
    for (to, told, entry) in moved {
        let name = to.join(".");
        let at = entry.key_span.clone();
        let (message, help, comment) = if section::put(section, to, entry, ids) {
            (
                format!("{full} is read as {name}"),
                format!("write it as {name}"),
                format!("{key} is {name} now"),
            )
        } else {
            let why = format!("{name} is given, too");
            (format!("{full} is not used: {why}"), "remove it".to_owned(), format!("{key} is gone: {why}"))
        };
        if told {
            let problem = Problem::new(at, message).help(help).without_rest();
            let severity = Severity::Warning(problem);
            notes.all.push(Note { section: holder_id, before: None, comment, severity });
        }
    }
}
