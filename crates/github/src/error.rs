//! Why a call to GitHub failed, in words that say what to do.

use std::time::Duration;

/// Why a call failed. `doing` is what was being done, such as `list the runners of acme`; `message` is what GitHub said
/// about it, bounded and without control characters. No secret is in any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection came about: nothing was sent.
    #[error("cannot {doing}: GitHub cannot be reached: {why}")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// The causes, without the address.
        why: String,
    },
    /// The connection broke after the request was on its way: GitHub may have done what it asks.
    #[error("cannot {doing}: the connection to GitHub broke: {why}")]
    Interrupted {
        /// What was being done.
        doing: String,
        /// The causes, without the address.
        why: String,
    },
    /// No whole answer within the deadline: GitHub may have done what the request asks.
    #[error("cannot {doing}: no answer from GitHub within {after:?}")]
    Timeout {
        /// What was being done.
        doing: String,
        /// The deadline.
        after: Duration,
    },
    /// 401: the credential is not accepted.
    #[error(
        "cannot {doing}: GitHub rejects the credential: {message}; check the App's id and key, or whether the token has expired or was revoked"
    )]
    Unauthorized {
        /// What was being done.
        doing: String,
        /// GitHub's words.
        message: String,
    },
    /// 403 that is no rate limit: the credential may not do this.
    #[error(
        "cannot {doing}: GitHub forbids it: {message}; check the App's or token's permissions (fireactions github check)"
    )]
    Forbidden {
        /// What was being done.
        doing: String,
        /// GitHub's words.
        message: String,
    },
    /// 404: it is not there, or the credential may not see it.
    #[error(
        "cannot {doing}: GitHub does not find it: {message}; check the spelling of the name, and that the App is installed there or the token has access"
    )]
    NotFound {
        /// What was being done.
        doing: String,
        /// GitHub's words.
        message: String,
    },
    /// 409 of another kind than the two below.
    #[error("cannot {doing}: it conflicts with what exists: {message}")]
    Conflict {
        /// What was being done.
        doing: String,
        /// GitHub's words.
        message: String,
    },
    /// A runner of this name exists.
    #[error("a runner named '{name}' already exists")]
    NameTaken {
        /// The runner's name.
        name: String,
    },
    /// Another session holds the scale set.
    #[error("cannot {doing}: another session holds the scale set: {message}")]
    SessionConflict {
        /// What was being done.
        doing: String,
        /// GitHub's words.
        message: String,
    },
    /// 400, 422 and the like: GitHub understands the request and refuses what is in it.
    #[error("cannot {doing}: GitHub refuses the request: {message}")]
    Refused {
        /// What was being done.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// GitHub's words.
        message: String,
    },
    /// A rate limit; nothing may be asked with the same credential before `after`.
    #[error("cannot {doing}: GitHub's {} rate limit is reached; next request in {after:?}", if *.secondary { "secondary" } else { "primary" })]
    RateLimited {
        /// What was being done.
        doing: String,
        /// From now.
        after: Duration,
        /// Asked too fast, other than too often in the hour.
        secondary: bool,
    },
    /// 5xx: GitHub has a trouble of its own.
    #[error(
        "cannot {doing}: GitHub reports an internal error ({status}): {message}; see https://www.githubstatus.com"
    )]
    Server {
        /// What was being done.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// GitHub's words.
        message: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// An answer that the protocol does not have.
    #[error("cannot {doing}: unexpected answer: {why}")]
    Unexpected {
        /// What was being done.
        doing: String,
        /// What is odd about it.
        why: String,
    },
    /// GitHub has no such operation for this scope.
    #[error("cannot {doing}: {why}")]
    Unsupported {
        /// What was being done.
        doing: String,
        /// What to do instead.
        why: String,
    },
    /// The credential cannot be read, or is none.
    #[error("the credential for GitHub cannot be used: {0}")]
    Credential(String),
    /// A setting that no client can be made of.
    #[error("GitHub cannot be set up: {0}")]
    Settings(String),
}

impl Error {
    /// How long GitHub wants not to be asked, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { after, .. } => Some(*after),
            Self::Server { after, .. } => *after,
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Interrupted { .. }
                | Self::Timeout { .. }
                | Self::RateLimited { .. }
                | Self::Server { .. }
                | Self::SessionConflict { .. }
        )
    }
}

impl From<fireactions_http::Error> for Error {
    fn from(error: fireactions_http::Error) -> Self {
        use fireactions_http::Error as Http;
        match error {
            Http::Unreachable { doing, why } => Self::Unreachable { doing, why },
            Http::Interrupted { doing, why } => Self::Interrupted { doing, why },
            Http::Timeout { doing, after } => Self::Timeout { doing, after },
            Http::Unexpected { doing, why } => Self::Unexpected { doing, why },
            Http::Credential(why) => Self::Credential(why),
            Http::Settings(why) => Self::Settings(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_transient() {
        let doing = || "list the runners of acme".to_owned();
        let limited = Error::RateLimited { doing: doing(), after: Duration::from_secs(60), secondary: true };
        assert!(limited.is_transient());
        assert_eq!(limited.retry_after(), Some(Duration::from_secs(60)));
        assert_eq!(
            limited.to_string(),
            "cannot list the runners of acme: GitHub's secondary rate limit is reached; next request in 60s"
        );
        let forbidden = Error::Forbidden { doing: doing(), message: "no".into() };
        assert!(!forbidden.is_transient() && forbidden.retry_after().is_none());
    }
}
