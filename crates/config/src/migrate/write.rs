//! A tree as YAML, with comments.

use std::fmt::Write as _;

use crate::foreign::Note;
use crate::tree::{Entry, Node, Value};

/// Longest line of a comment, in characters.
const WIDTH: usize = 110;
/// Longest list that stands on one line, in characters.
const SHORT: usize = 90;

/// The whole file.
pub(super) fn file(root: &Node, notes: &[Note], name: &str) -> String {
    let mut out = Out { text: String::new(), notes };
    let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    out.comment(0, &format!("Written by `fireactions migrate` from {name}."));
    out.of_section(root.id, 0);
    let Value::Map(entries) = &root.value else { return out.text };
    if entries.is_empty() {
        out.text.push_str("{}\n");
    }
    for entry in entries {
        out.text.push('\n');
        out.entry(root.id, entry, 0);
    }
    out.text
}

struct Out<'a> {
    text: String,
    notes: &'a [Note],
}

impl Out<'_> {
    fn comment(&mut self, indent: usize, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + word.chars().count() > WIDTH {
                self.line(indent, &format!("#{line}"));
                line.clear();
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(indent, &format!("#{line}"));
    }

    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.text, "{:indent$}{text}", "");
    }

    /// Comments at a section's beginning.
    fn of_section(&mut self, id: u32, indent: usize) {
        for note in self.notes {
            if note.section == id && note.before.is_none() {
                self.comment(indent, &format!("{}.", note.comment));
            }
        }
    }

    fn entry(&mut self, section: u32, entry: &Entry, indent: usize) {
        for note in self.notes {
            if note.section == section && note.before.as_ref() == Some(&entry.key) {
                self.comment(indent, &format!("{}.", note.comment));
            }
        }
        let key = scalar(&entry.key);
        self.value(&format!("{key}:"), &entry.value, indent);
    }

    /// A value behind its key, or behind the dash of a list.
    fn value(&mut self, head: &str, node: &Node, indent: usize) {
        match &node.value {
            Value::Map(entries) if !entries.is_empty() => {
                self.line(indent, head);
                self.of_section(node.id, indent + 2);
                for entry in entries {
                    self.entry(node.id, entry, indent + 2);
                }
            }
            Value::List(items) if !items.is_empty() => self.list(head, items, indent),
            Value::Text(text) if is_block(text) => {
                let mark = if text.ends_with('\n') { "|" } else { "|-" };
                self.line(indent, &format!("{head} {mark}"));
                for line in text.lines() {
                    let indent = if line.is_empty() { 0 } else { indent + 2 };
                    self.line(indent, line);
                }
            }
            _ => self.line(indent, &format!("{head} {}", leaf(node))),
        }
    }

    fn list(&mut self, head: &str, items: &[Node], indent: usize) {
        let simple = |item: &Node| match &item.value {
            Value::Map(entries) => entries.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Text(text) => !is_block(text),
            _ => true,
        };
        if items.iter().all(simple) {
            let list = items.iter().map(leaf).collect::<Vec<_>>().join(", ");
            if list.chars().count() <= SHORT {
                return self.line(indent, &format!("{head} [{list}]"));
            }
        }
        self.line(indent, head);
        for item in items {
            match &item.value {
                Value::Map(entries) if !entries.is_empty() => {
                    let mut section = Out { text: String::new(), notes: self.notes };
                    section.of_section(item.id, indent + 4);
                    for entry in entries {
                        section.entry(item.id, entry, indent + 4);
                    }
                    // Its first key stands behind the dash, and comments that come first above it.
                    let mut dash = Some('-');
                    for line in section.text.lines() {
                        let rest = line.get(indent + 4..).unwrap_or_default();
                        match dash {
                            Some(_) if rest.starts_with('#') => self.line(indent + 2, rest),
                            Some(dash) => self.line(indent + 2, &format!("{dash} {rest}")),
                            None => self.line(0, line),
                        }
                        if !rest.starts_with('#') {
                            dash = None;
                        }
                    }
                }
                _ => self.value("-", item, indent + 2),
            }
        }
    }
}

/// A value on one line.
fn leaf(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Signed(value) => node.plain.clone().unwrap_or_else(|| value.to_string()),
        Value::Unsigned(value) => node.plain.clone().unwrap_or_else(|| value.to_string()),
        Value::Float(value) => node.plain.clone().unwrap_or_else(|| value.to_string()),
        Value::Text(_) if node.switch().is_some() => node.plain.clone().unwrap_or_default(),
        Value::Text(text) => scalar(text),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

/// A text that is a block of lines.
fn is_block(text: &str) -> bool {
    let lines = text.strip_suffix('\n').unwrap_or(text);
    lines.contains('\n')
        && !lines.starts_with([' ', '\n'])
        && !lines.ends_with('\n')
        && !text.contains(|c: char| {
            c.is_control() && c != '\n'
                || ('\u{85}'..='\u{9f}').contains(&c)
                || "\u{2028}\u{2029}\u{feff}".contains(c)
        })
}

/// A text on one line, in quotes unless it can only be a text without them.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@+".contains(c))
        && !text.ends_with(':')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
