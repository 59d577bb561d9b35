//! Why something could not be done at GitHub.

use std::time::Duration;

use fireactions_model::GithubScope;

/// GitHub's own refusals, and those of ours before it is asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// GitHub's.
    #[error(transparent)]
    Github(#[from] fireactions_github::Error),
    /// The pool's scale set has no session now.
    #[error("the pool's scale set has no session yet; if this lasts, `fireactions pools show` says why")]
    NoSession,
    /// What a message says could not be written down; it comes again.
    #[error("news of its jobs could not be stored; the server's log says why, and GitHub tells them again")]
    NotNoted,
    /// There is no such runner group.
    #[error(
        "{scope} has no runner group {name}; it has {known}. Create it at GitHub, or set runner.group or runner.group_id"
    )]
    NoGroup {
        /// Where.
        scope: GithubScope,
        /// Which.
        name: String,
        /// Those that there are.
        known: String,
    },
}

impl Error {
    /// Whether it may go well the next time.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Github(error) => error.is_transient(),
            Self::NoSession | Self::NotNoted => true,
            Self::NoGroup { .. } => false,
        }
    }

    /// How long GitHub wants not to be asked.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Github(error) => error.retry_after(),
            Self::NoSession | Self::NotNoted | Self::NoGroup { .. } => None,
        }
    }
}

impl From<Error> for crate::hosted::error::Error {
    fn from(error: Error) -> Self {
        match &error {
            Error::Github(fireactions_github::Error::NameTaken { .. }) => Self::name_taken(error),
            _ if error.is_transient() => {
                let after = error.retry_after();
                Self::transient(error, after)
            }
            _ => Self::lasting(error),
        }
    }
}
