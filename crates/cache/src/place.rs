//! Where an entry belongs. Texts of guests are checked here, once; all that follows compares them whole.

use std::fmt;

use fireactions_model::MachineId;
use serde::{Deserialize, Serialize};

use crate::CacheError;
use crate::limits::{KEY, VERSION};

/// A repository, as its forge names it. Two that differ in a single byte share nothing. It comes from the forge, never
/// from a guest, so that any text is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Repository(pub String);

/// What within a repository shares entries: a ref such as `refs/heads/main` or `refs/pull/7/merge`, or something that
/// only one job has. It comes from the forge, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope(pub String);

/// How the scope of one job begins. No ref does.
const ALONE: &str = "machine/";

impl Scope {
    /// That of a machine's job alone.
    pub(crate) fn alone(machine: &MachineId) -> Self {
        Self(format!("{ALONE}{machine}"))
    }

    /// Whose job's it is, if it is one job's alone.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.0.strip_prefix(ALONE)
    }
}

/// What an entry is found by. A guest's word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(String);

/// What of the same key does not mix: clients hash paths and compression into it. A guest's word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version(String);

/// An entry's full name. The order is that of a search: keys with the same start are neighbours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Whose it is.
    pub repository: Repository,
    /// Who in the repository sees it.
    pub scope: Scope,
    /// What it does not mix with.
    pub version: Version,
    /// What it is called.
    pub key: Key,
}

impl Key {
    /// Checks a key. The rules are the clients' own, who refuse the rest before they ask.
    pub fn new(text: impl Into<String>) -> Result<Self, CacheError> {
        let text = text.into();
        let length = text.chars().count();
        let problem = if length == 0 {
            "a cache key is empty".to_owned()
        } else if length > KEY {
            format!("a cache key has {length} characters, and the limit is {KEY}")
        } else if text.contains(',') {
            "a cache key has a comma in it, which keys cannot have".to_owned()
        } else if text.chars().any(char::is_control) {
            "a cache key has a control character in it, which keys cannot have".to_owned()
        } else {
            return Ok(Self(text));
        };
        Err(CacheError::Invalid(problem))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Version {
    /// Checks a version.
    pub fn new(text: impl Into<String>) -> Result<Self, CacheError> {
        let text = text.into();
        if text.is_empty() || text.len() > VERSION || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let rule = format!("a cache's version is 1 to {VERSION} visible ASCII characters");
            return Err(CacheError::Invalid(rule));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
