//! Whose file it is.

use std::ops::Range;

use crate::problem::Problem;
use crate::tree::{Node, Value};

/// Another program whose files have other keys throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Runners of a Gitea.
    Fireteact,
    /// Runners of a GitLab.
    Fireglab,
}

/// The other program whose file this is, and the place that tells it.
pub(crate) fn of(root: &Node) -> Option<(Dialect, Range<usize>)> {
    let Value::Map(entries) = &root.value else { return None };
    let place = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.key_span.clone());
    let section = |key: &str| root.get(key).filter(|node| matches!(node.value, Value::Map(_)));
    if section("gitlab").is_some() {
        return Some((Dialect::Fireglab, place("gitlab")?));
    }
    let gitea = section("gitea")?;
    let theirs = ["instanceURL", "runnerScope", "runnerOwner"].iter().any(|key| gitea.get(key).is_some());
    // One of our own files, with a key of theirs in it, is told about that key.
    (theirs && gitea.get("url").is_none()).then_some((Dialect::Fireteact, place("gitea")?))
}

impl Dialect {
    /// What is said of such a file when it is loaded.
    pub(crate) fn told(self, at: Range<usize>) -> Problem {
        let (message, help) = match self {
            Self::Fireteact => (
                "this is a configuration of fireteact, whose keys are others",
                "run 'fireactions migrate FILE' with this file, and use what it prints",
            ),
            Self::Fireglab => (
                "this is a configuration of fireglab, and GitLab is not supported yet",
                "GitHub, Gitea and Forgejo are; leave runners of a GitLab to fireglab",
            ),
        };
        Problem::new(at, message).help(help)
    }
}
