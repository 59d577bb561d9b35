//! What a pool is at Gitea and at Forgejo.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::IdError;

/// Where runners are registered at a Gitea or a Forgejo, and whose jobs they take. Names are kept as they are written and
/// compared without case, as both do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GiteaScope {
    /// All of the instance: `instance`. It needs a site administrator's token.
    Instance,
    /// The user whose token it is: `user`.
    User,
    /// An organization: `orgs/NAME`.
    Organization(String),
    /// One repository: `repos/OWNER/NAME`.
    Repository {
        /// Its owner, a user or an organization.
        owner: String,
        /// Its name.
        name: String,
    },
}

const INSTANCE: &str = "instance";
const USER: &str = "user";
const ORGANIZATIONS: &str = "orgs/";
const REPOSITORIES: &str = "repos/";

impl GiteaScope {
    /// An organization's runners.
    ///
    /// # Errors
    /// When there can be no organization of this name.
    pub fn organization(name: &str) -> Result<Self, IdError> {
        Ok(Self::Organization(checked("organization of a Gitea or Forgejo", name)?))
    }

    /// A repository's runners.
    ///
    /// # Errors
    /// When there can be no such owner or repository.
    pub fn repository(owner: &str, name: &str) -> Result<Self, IdError> {
        let owner = checked("owner at a Gitea or Forgejo", owner)?;
        Ok(Self::Repository { owner, name: checked("repository of a Gitea or Forgejo", name)? })
    }

    /// Its kind and its names in lower case: what two of them are compared by.
    fn key(&self) -> (u8, String, String) {
        match self {
            Self::Instance => (0, String::new(), String::new()),
            Self::User => (1, String::new(), String::new()),
            Self::Organization(name) => (2, name.to_ascii_lowercase(), String::new()),
            Self::Repository { owner, name } => (3, owner.to_ascii_lowercase(), name.to_ascii_lowercase()),
        }
    }
}

/// Names of users, organizations and repositories; what the servers refuse beyond this (reserved names, points side by
/// side) changes from version to version.
fn checked(what: &'static str, name: &str) -> Result<String, IdError> {
    let fine = !name.is_empty()
        && name.len() <= 100
        && name.bytes().any(|b| b != b'.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fine {
        Ok(name.to_owned())
    } else {
        Err(crate::ids::reject(what, name, "use 1 to 100 of A-Z a-z 0-9 . _ -"))
    }
}

impl fmt::Display for GiteaScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance => f.write_str(INSTANCE),
            Self::User => f.write_str(USER),
            Self::Organization(name) => write!(f, "{ORGANIZATIONS}{name}"),
            Self::Repository { owner, name } => write!(f, "{REPOSITORIES}{owner}/{name}"),
        }
    }
}

impl FromStr for GiteaScope {
    type Err = IdError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == INSTANCE {
            return Ok(Self::Instance);
        }
        if text == USER {
            return Ok(Self::User);
        }
        if let Some(name) = text.strip_prefix(ORGANIZATIONS) {
            return Self::organization(name);
        }
        if let Some((owner, name)) = text.strip_prefix(REPOSITORIES).and_then(|rest| rest.split_once('/')) {
            return Self::repository(owner, name);
        }
        Err(crate::ids::reject(
            "place for runners at a Gitea or Forgejo",
            text,
            "write 'instance', 'user', 'orgs/NAME' or 'repos/OWNER/NAME'",
        ))
    }
}

impl TryFrom<String> for GiteaScope {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<GiteaScope> for String {
    fn from(scope: GiteaScope) -> Self {
        scope.to_string()
    }
}

impl PartialEq for GiteaScope {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for GiteaScope {}

impl PartialOrd for GiteaScope {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for GiteaScope {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for GiteaScope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// A pool's machines as the runners of a Gitea or a Forgejo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GiteaRunner {
    /// Where they are registered.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub scope: GiteaScope,
    /// How their names begin.
    pub prefix: String,
    /// What jobs may ask for, as the configuration has it: both forges tell upper from lower case. `NAME`, which runs jobs in
    /// the machine itself, or `NAME:SCHEME[:…]` as the forge's own runner has it, such as `debian:docker://debian:12`.
    pub labels: Vec<String>,
    /// What starts the runner in the image; found by itself when absent.
    pub command: Option<Vec<String>>,
    /// So many runners wait for jobs, where the forge cannot be asked for its queue; none where it can.
    pub standing: Option<u32>,
}

impl GiteaRunner {
    /// The usual runners of this scope, without labels.
    pub fn new(scope: GiteaScope) -> Self {
        Self { scope, prefix: "fireactions".to_owned(), labels: Vec::new(), command: None, standing: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for text in ["instance", "user", "orgs/Acme", "orgs/a.b-c_d", "repos/Acme/Wid.gets", "repos/_x/-"] {
            let scope: GiteaScope = text.parse().unwrap();
            assert_eq!(scope.to_string(), text, "names keep their case");
            assert_eq!(serde_json::to_string(&scope).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<GiteaScope>(&format!("\"{text}\"")).unwrap(), scope);
        }
        for text in [
            "",
            "acme",
            "acme/app",
            "orgs/",
            "orgs/a/b",
            "orgs/..",
            "orgs/a b",
            "orgs/ä",
            "repos/acme",
            "repos/acme/",
            "repos//x",
            "repos/acme/..",
            "repos/a/b/c",
            "Instance",
            "users/x",
            "user/x",
            "admin",
        ] {
            let error = text.parse::<GiteaScope>().unwrap_err();
            assert!(!error.rule.is_empty(), "{text}");
        }
        assert!(GiteaScope::organization(&"x".repeat(101)).is_err());
        let error = "acme/app".parse::<GiteaScope>().unwrap_err().to_string();
        assert!(error.contains("'acme/app'") && error.contains("repos/OWNER/NAME"), "{error}");
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        let (one, other) =
            (GiteaScope::organization("Acme").unwrap(), GiteaScope::organization("acmE").unwrap());
        assert_eq!(one, other);
        assert_eq!(HashSet::from([one.clone()]), HashSet::from([other.clone()]));
        assert_eq!(one.cmp(&other), Ordering::Equal);
        assert_eq!(GiteaScope::repository("A", "B").unwrap(), GiteaScope::repository("a", "b").unwrap());
        assert_ne!(GiteaScope::repository("a", "b").unwrap(), GiteaScope::repository("a", "c").unwrap());
        assert!(GiteaScope::Instance < GiteaScope::User && GiteaScope::User < one);
    }
}
