//! Which of the two it is.

use std::fmt;

/// Which forge a server runs. Both grew from one, and differ in what matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// <https://about.gitea.com>
    Gitea,
    /// <https://forgejo.org>
    Forgejo,
}

impl Kind {
    /// Its name, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gitea => "Gitea",
            Self::Forgejo => "Forgejo",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
