//! The registry's text: what nobody touches stays letter by letter, so that a change is as small in `git diff` as in words.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Host;

/// Hosts by name, in the file's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hosts(Vec<Entry>);

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    name: String,
    host: Host,
    /// As it stood in the file; `None`: it was changed.
    text: Option<String>,
}

impl Hosts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Host)> {
        self.0.iter().map(|entry| (entry.name.as_str(), &entry.host))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Host> {
        self.iter().find(|(its, _)| *its == name).map(|(_, host)| host)
    }

    /// The name of the host with this address.
    pub fn at(&self, address: &str) -> Option<&str> {
        self.iter().find(|(_, host)| host.hostname == address).map(|(name, _)| name)
    }

    /// Puts a host in the place of the one with its name, or at the end.
    pub fn put(&mut self, name: &str, host: Host) {
        match self.0.iter_mut().find(|entry| entry.name == name) {
            Some(entry) if entry.host == host => {}
            Some(entry) => (entry.host, entry.text) = (host, None),
            None => self.0.push(Entry { name: name.to_owned(), host, text: None }),
        }
    }

    /// Takes a host out.
    pub fn remove(&mut self, name: &str) -> Option<Host> {
        let place = self.0.iter().position(|entry| entry.name == name)?;
        Some(self.0.remove(place).host)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let (line, column) = place(&good, good.len());
            Fault::Broken { line, column, why: "it is not UTF-8".to_owned() }
        })?;
        if text.trim_start().starts_with('[') {
            let why = "a registry is an object: {\"NAME\": {\"hostname\": …}, …}".to_owned();
            return Err(Fault::Broken { line: 1, column: 1, why });
        }
        let Pairs(pairs) = serde_json::from_str(text).map_err(|error| broken(&error, (1, 1), ""))?;
        let mut hosts = Self::default();
        for (name, raw) in pairs {
            let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
            let (line, column) = place(text, start);
            let is_object = raw.get().starts_with('{');
            if !is_object && name == "version" {
                let why = format!("it has \"version\": {}", raw.get());
                return Err(Fault::OtherVersion { line, column, why });
            }
            if !is_object {
                let why = format!("host '{name}': it is no object: {{\"hostname\": …}}");
                return Err(Fault::Broken { line, column, why });
            }
            if hosts.get(&name).is_some() {
                return Err(Fault::Broken { line, column, why: format!("host '{name}' is there twice") });
            }
            let host = serde_json::from_str(raw.get())
                .map_err(|error| broken(&error, (line, column), &format!("host '{name}': ")))?;
            hosts.0.push(Entry { name, host, text: Some(raw.get().to_owned()) });
        }
        Ok(hosts)
    }

    pub(super) fn to_text(&self) -> serde_json::Result<String> {
        let mut text = String::from("{");
        for (n, entry) in self.0.iter().enumerate() {
            text.push_str(if n == 0 { "\n  " } else { ",\n  " });
            text.push_str(&serde_json::to_string(&entry.name)?);
            text.push_str(": ");
            match &entry.text {
                Some(kept) => text.push_str(kept),
                None => text.push_str(&serde_json::to_string_pretty(&entry.host)?.replace('\n', "\n  ")),
            }
        }
        text.push_str(if self.0.is_empty() { "}\n" } else { "\n}\n" });
        Ok(text)
    }
}

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Broken { line: usize, column: usize, why: String },
    OtherVersion { line: usize, column: usize, why: String },
}

/// An error in a part of the text that begins at `from`.
fn broken(error: &serde_json::Error, from: (usize, usize), what: &str) -> Fault {
    let said = error.to_string();
    let why = said.rsplit_once(" at line ").map_or(said.as_str(), |(why, _)| why);
    let (line, column) = match error.line() {
        0 | 1 => (from.0, from.1 - 1 + error.column()),
        line => (from.0 + line - 1, error.column()),
    };
    Fault::Broken { line, column, why: format!("{what}{why}") }
}

/// Line and column, from 1, of a byte.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    (before.matches('\n').count() + 1, at - before.rfind('\n').map_or(0, |newline| newline + 1) + 1)
}

/// An object's names and values in their order.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of hosts by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
