//! The file as a tree that knows where each value stands.
//!
//! serde stops at its first error and forgets positions. So the YAML is read into this tree first, under strict
//! limits, and everything after works on the tree: every problem can point at its place, and the reader can go
//! on after one.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Deepest nesting. A real file has 6.
const MAX_DEPTH: usize = 32;
/// Most values, after aliases are followed. A pool has about 60.
const MAX_NODES: usize = 50_000;

/// A value and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Unique in its tree.
    pub(crate) id: u32,
    /// Bytes of the file.
    pub(crate) span: Range<usize>,
    /// A scalar as it is written, where it is written without quotes: what YAML made of it may not be what was meant.
    pub(crate) plain: Option<String>,
    pub(crate) value: Value,
}

impl Node {
    /// The value of a key, where this is a section that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The value at the end of a path of keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Its text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// Whether it is true or false. Words that were that in YAML 1.1 count, without quotes: programs still read them so.
    pub(crate) fn switch(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value {
            return Some(value);
        }
        match self.plain.as_deref()? {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }

    /// Whether the file says anything there.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self.value, Value::Null)
    }
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One line `key: value` of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

impl Value {
    /// What it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Signed(_) | Self::Unsigned(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a section with keys",
        }
    }
}

/// Why the text is not a tree: what, and at which byte.
#[derive(Debug)]
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) at: usize,
}

/// Reads `text`. An empty file is an empty mapping.
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
    };
    match serde_saphyr::from_str_with_options::<Option<Raw>>(text, options) {
        Ok(None) => Ok(Node { id: 0, span: 0..0, plain: None, value: Value::Map(Vec::new()) }),
        Ok(Some(raw)) => Ok(build(text, raw.0, &mut 0)),
        Err(error) => Err(SyntaxError { at: place(text, &error), message: describe(&error) }),
    }
}

/// The byte that an error points at. The parser gives lines and columns always, bytes only sometimes.
fn place(text: &str, error: &serde_saphyr::Error) -> usize {
    let Some(location) = error.location() else { return 0 };
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (line, column) = (number(location.line()), number(location.column()));
    let Some(start) =
        text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).reduce(|a, b| a + b)
    else {
        return offset_in(text, column);
    };
    start + offset_in(&text[start..], column)
}

/// The byte of a column (from 1, in characters) in the first line of `text`.
fn offset_in(text: &str, column: usize) -> usize {
    let line = text.lines().next().unwrap_or("");
    line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at)
}

/// The parser's own words, without its position and source picture: both are added here in one form for all.
fn describe(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::{Error, RenderOptions, UserMessageFormatter};
    match error.without_snippet() {
        Error::Budget { .. } => TOO_MUCH.to_owned(),
        Error::MultipleDocuments { .. } => "the file holds more than one YAML document".to_owned(),
        other => {
            let text = other.render_with_options(RenderOptions::new(&UserMessageFormatter));
            let line = text.lines().next().unwrap_or("unknown error");
            if line.contains("too large or too complex") || line.contains("recursion limit") {
                return TOO_MUCH.to_owned();
            }
            format!("this is not valid YAML: {}", line.split(" at line ").next().unwrap_or(line))
        }
    }
}

const TOO_MUCH: &str = "the file has too many values, levels or aliases for a configuration";

fn build(text: &str, raw: Spanned<RawValue>, next: &mut u32) -> Node {
    let span = span_of(&raw);
    let id = *next;
    *next += 1;
    let plain = match &raw.value {
        RawValue::Leaf(value) => plain(text.get(span.clone()), value),
        RawValue::List(_) | RawValue::Map(_) => None,
    };
    let value = match raw.value {
        RawValue::Leaf(value) => value,
        RawValue::List(items) => {
            Value::List(items.into_iter().map(|item| build(text, item.0, next)).collect())
        }
        RawValue::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_span: span_of(&key),
                    key: key.value.0,
                    value: build(text, value.0, next),
                })
                .collect(),
        ),
    };
    Node { id, span, plain, value }
}

/// What is written at a scalar's place, unless it is in quotes or an alias of what is written elsewhere.
fn plain(written: Option<&str>, value: &Value) -> Option<String> {
    let written = written?.trim();
    let fine = match value {
        Value::Text(text) => text == written,
        Value::Signed(_) | Value::Unsigned(_) | Value::Float(_) => {
            !written.is_empty() && !written.contains(|c: char| "*&!\"'".contains(c) || c.is_whitespace())
        }
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => false,
    };
    fine.then(|| written.to_owned())
}

fn span_of<T>(spanned: &Spanned<T>) -> Range<usize> {
    let span = spanned.referenced.span();
    let number = |offset: Option<u64>| offset.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let start = number(span.byte_offset());
    start..start.saturating_add(number(span.byte_len()))
}

#[derive(Deserialize)]
struct Raw(Spanned<RawValue>);

enum RawValue {
    Leaf(Value),
    List(Vec<Raw>),
    Map(Vec<(Spanned<Key>, Raw)>),
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Unsigned(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Float(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Leaf(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawValue, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawValue::Map(map))
    }
}

/// A mapping's key. Numbers and booleans are taken as their text: `metadata` may have such keys.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}
