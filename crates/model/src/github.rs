//! What a pool is at GitHub.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::IdError;

/// Where runners are registered. Names are compared without case, as GitHub does; they are kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GithubScope {
    /// An organization: its repositories, as its runner groups say.
    Organization(String),
    /// One repository.
    Repository {
        /// Its owner.
        owner: String,
        /// Its name.
        name: String,
    },
    /// An enterprise.
    Enterprise(String),
}

/// How an enterprise is told from an organization in text.
const ENTERPRISES: &str = "enterprises/";

impl GithubScope {
    /// An organization's runners.
    ///
    /// # Errors
    /// When GitHub can have no organization of this name.
    pub fn organization(name: &str) -> Result<Self, IdError> {
        Ok(Self::Organization(login("GitHub organization", name)?))
    }

    /// A repository's runners.
    ///
    /// # Errors
    /// When GitHub can have no such owner or repository.
    pub fn repository(owner: &str, name: &str) -> Result<Self, IdError> {
        let fine = !name.is_empty()
            && name.len() <= 100
            && name != "."
            && name != ".."
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !fine {
            return Err(crate::ids::reject("GitHub repository", name, "use 1 to 100 of A-Z a-z 0-9 . _ -"));
        }
        let owner = login("GitHub owner", owner)?;
        Ok(Self::Repository { owner, name: name.to_ascii_lowercase() })
    }

    /// An enterprise's runners.
    ///
    /// # Errors
    /// When GitHub can have no enterprise of this name.
    pub fn enterprise(name: &str) -> Result<Self, IdError> {
        Ok(Self::Enterprise(login("GitHub enterprise", name)?))
    }
}

/// The name of a user, an organization or an enterprise.
fn login(what: &'static str, name: &str) -> Result<String, IdError> {
    let fine = !name.is_empty()
        && name.len() <= 100
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if fine {
        return Ok(name.to_ascii_lowercase());
    }
    Err(crate::ids::reject(what, name, "use letters, digits, '-' and '_', as in the address of its page"))
}

impl fmt::Display for GithubScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(name) => f.write_str(name),
            Self::Repository { owner, name } => write!(f, "{owner}/{name}"),
            Self::Enterprise(name) => write!(f, "{ENTERPRISES}{name}"),
        }
    }
}

impl FromStr for GithubScope {
    type Err = IdError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Some(name) = text.strip_prefix(ENTERPRISES) {
            return Self::enterprise(name);
        }
        match text.split_once('/') {
            Some((owner, name)) => Self::repository(owner, name),
            None => Self::organization(text),
        }
    }
}

impl TryFrom<String> for GithubScope {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<GithubScope> for String {
    fn from(scope: GithubScope) -> Self {
        scope.to_string()
    }
}

/// The runner group that runners join.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunnerGroup {
    /// The scope's default group.
    #[default]
    Default,
    /// By its number.
    Id(u64),
    /// By its name.
    Name(String),
}

/// A pool's machines as GitHub's runners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GithubRunner {
    /// Where they are registered.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub scope: GithubScope,
    /// Their group.
    pub group: RunnerGroup,
    /// How their names begin.
    pub prefix: String,
    /// The scale set that they belong to; none for runners that are registered one by one.
    pub scale_set: Option<String>,
    /// What starts the runner in the image; found by itself when absent.
    pub command: Option<Vec<String>>,
    /// Directory for jobs, below the runner's own.
    pub work_folder: String,
    /// A service of the image starts the runner, with the credential from the VMM's metadata service.
    #[serde(default)]
    pub by_image: bool,
}

impl GithubRunner {
    /// The usual runners of this scope, without a scale set.
    pub fn new(scope: GithubScope) -> Self {
        Self {
            scope,
            group: RunnerGroup::Default,
            prefix: "fireactions".to_owned(),
            scale_set: None,
            command: None,
            work_folder: "_work".to_owned(),
            by_image: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for (text, written) in
            [("Acme", "acme"), ("acme/Wid.gets", "acme/wid.gets"), ("enterprises/big", "enterprises/big")]
        {
            let scope: GithubScope = text.parse().unwrap();
            assert_eq!(scope.to_string(), written);
            assert_eq!(written.parse(), Ok(scope));
        }
        for text in ["", "a b", "acme/", "/x", "acme/..", "acme/a/b", "enterprises/", "-x", "acme/ä"] {
            assert!(text.parse::<GithubScope>().is_err(), "{text}");
        }
    }
}
