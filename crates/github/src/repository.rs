//! A repository's full name.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use fireactions_model::IdError;

use crate::Scope;

/// A repository, `owner/name`. It is written as GitHub writes it and compared without case, as GitHub does.
#[derive(Debug, Clone)]
pub struct Repository {
    owner: String,
    name: String,
}

impl Repository {
    /// Its owner: a user or an organization.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Its name, without the owner.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The repository as a place for runners, whose names are in lower case.
    pub fn scope(&self) -> Scope {
        Scope::Repository { owner: self.owner.to_ascii_lowercase(), name: self.name.to_ascii_lowercase() }
    }

    fn letters(&self) -> impl Iterator<Item = u8> {
        let all = self.owner.bytes().chain([b'/']).chain(self.name.bytes());
        all.map(|byte| byte.to_ascii_lowercase())
    }
}

impl FromStr for Repository {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (owner, name) = text.split_once('/').unwrap_or((text, ""));
        // The rules are the scope's; its lower case is not what people want to see.
        Scope::repository(owner, name)?;
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl PartialEq for Repository {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Repository {}

impl PartialOrd for Repository {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Repository {
    fn cmp(&self, other: &Self) -> Ordering {
        self.letters().cmp(other.letters())
    }
}

impl Hash for Repository {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.letters().for_each(|letter| state.write_u8(letter));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_keep_their_case_and_are_the_same_in_any() {
        let named: Repository = "Acme/Wid.Gets".parse().unwrap();
        assert_eq!(named.to_string(), "Acme/Wid.Gets");
        assert_eq!((named.owner(), named.name()), ("Acme", "Wid.Gets"));
        let lower: Repository = "acme/wid.gets".parse().unwrap();
        assert_eq!(named, lower);
        assert_eq!(HashSet::from([named.clone()]), HashSet::from([lower]));
        assert_eq!(named.scope(), "acme/wid.gets".parse().unwrap());
        assert!(named < "acme/wid.gett".parse().unwrap());
        for text in ["", "acme", "acme/", "/x", "a/b/c", "acme/..", "acme/ä", "acme/x y"] {
            assert!(text.parse::<Repository>().is_err(), "{text}");
        }
    }
}
