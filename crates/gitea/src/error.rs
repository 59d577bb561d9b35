//! Why a call to Gitea or Forgejo failed, in words that say what to do.

use std::time::Duration;

use crate::Kind;

/// Why a call failed. `forge` is which of the two it is; `doing` is what was being done, such as `list the runners of
/// orgs/acme`; `message` is what the server said about it, bounded and without control characters. No secret is in any of
/// them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection came about: nothing was sent.
    #[error("cannot {doing}: {forge} cannot be reached: {why}")]
    Unreachable {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// The causes, without the address.
        why: String,
    },
    /// The connection broke after the request was on its way: the server may have done what it asks.
    #[error("cannot {doing}: the connection to {forge} broke: {why}")]
    Interrupted {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// The causes, without the address.
        why: String,
    },
    /// No whole answer within the deadline: the server may have done what the request asks.
    #[error("cannot {doing}: no answer from {forge} within {after:?}")]
    Timeout {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// The deadline.
        after: Duration,
    },
    /// The token is not accepted.
    #[error(
        "cannot {doing}: {forge} rejects the token: {message}; check whether it was revoked, or copied incompletely"
    )]
    Unauthorized {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// The server's words.
        message: String,
    },
    /// 403: the token, or its user, may not do this.
    #[error("cannot {doing}: {forge} forbids it: {message}; {}", remedy(.needs, .message))]
    Forbidden {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// The server's words.
        message: String,
        /// The token scopes of which it needs one, such as `write:organization`; none when that is not the reason.
        needs: Vec<String>,
    },
    /// 404: it is not there, or the token may not see it.
    #[error(
        "cannot {doing}: {forge} does not find it: {message}; check the spelling of the name, and that the token's user has access"
    )]
    NotFound {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// The server's words.
        message: String,
    },
    /// 400, 422 and the like: the server understands the request and refuses what is in it.
    #[error("cannot {doing}: {forge} refuses the request: {message}")]
    Refused {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// 429, as a proxy before the server says it.
    #[error(
        "cannot {doing}: rate limit: {forge}, or a proxy in front of it, accepts the next request in {after:?}"
    )]
    RateLimited {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// From now.
        after: Duration,
    },
    /// 5xx: the server has a trouble of its own.
    #[error("cannot {doing}: {forge} reports an internal error ({status}): {message}; see its log")]
    Server {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// The HTTP status.
        status: u16,
        /// The server's words.
        message: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// An answer that the protocol does not have.
    #[error("cannot {doing}: unexpected answer of {forge}: {why}")]
    Unexpected {
        /// Which forge.
        forge: Kind,
        /// What was being done.
        doing: String,
        /// What is odd about it.
        why: String,
    },
    /// The server has no such operation, or not with what is set here.
    #[error("cannot {doing}: {why}")]
    Unsupported {
        /// What was being done.
        doing: String,
        /// Why, and what to do.
        why: String,
    },
    /// The token cannot be read, or is none.
    #[error("the token for {forge} cannot be used: {why}")]
    Credential {
        /// Which forge.
        forge: Kind,
        /// Why.
        why: String,
    },
    /// A setting that does not fit the server, or that no client can be made of.
    #[error("{forge} cannot be set up: {why}")]
    Settings {
        /// Which forge.
        forge: Kind,
        /// Why, and what to do.
        why: String,
    },
}

fn remedy(needs: &[String], message: &str) -> String {
    if !needs.is_empty() {
        return format!("create a token with the scope {}", needs.join(" or "));
    }
    let message = message.to_ascii_lowercase();
    if message.contains("site admin") {
        "the token's user must be a site administrator".into()
    } else if message.contains("organization") {
        "the token's user must be an owner of the organization".into()
    } else {
        "check the permissions of the token's user there".into()
    }
}

impl Error {
    /// An error of the HTTP below, in this forge's name.
    pub(crate) fn of(forge: Kind, error: fireactions_http::Error) -> Self {
        use fireactions_http::Error as Http;
        match error {
            Http::Unreachable { doing, why } => Self::Unreachable { forge, doing, why },
            Http::Interrupted { doing, why } => Self::Interrupted { forge, doing, why },
            Http::Timeout { doing, after } => Self::Timeout { forge, doing, after },
            Http::Unexpected { doing, why } => Self::Unexpected { forge, doing, why },
            Http::Credential(why) => Self::Credential { forge, why },
            Http::Settings(why) => Self::Settings { forge, why },
        }
    }

    /// How long the server wants not to be asked, where it said so.
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
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_which_forge_and_what_to_do() {
        let forbidden = |message: &str, needs: &[&str]| {
            let needs = needs.iter().map(ToString::to_string).collect();
            let (doing, message) = ("list the runners of instance".to_owned(), message.to_owned());
            Error::Forbidden { forge: Kind::Forgejo, doing, message, needs }.to_string()
        };
        assert_eq!(
            forbidden("no", &["read:admin", "write:admin"]),
            "cannot list the runners of instance: Forgejo forbids it: no; create a token with the scope read:admin or write:admin"
        );
        assert!(forbidden("user should be the site admin", &[]).ends_with("must be a site administrator"));
        assert!(forbidden("Must be an organization owner", &[]).ends_with("an owner of the organization"));
    }

    #[test]
    fn what_is_transient() {
        let (forge, doing) = (Kind::Gitea, || "list".to_owned());
        let after = Some(Duration::from_secs(3));
        let server =
            Error::Server { forge, doing: doing(), status: 500, message: "database is locked".into(), after };
        assert!(server.is_transient());
        assert_eq!(server.retry_after(), after);
        let missing = Error::NotFound { forge, doing: doing(), message: String::new() };
        assert!(!missing.is_transient() && missing.retry_after().is_none());
    }
}
