//! Why there is no answer, or none that can be read. Each client makes its own error of it, in its forge's name.

use std::time::Duration;

/// Why a request came to nothing. `doing` is what was being done, such as `list the runners of acme`. No secret is in any
/// of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection came about: nothing was sent.
    #[error("cannot {doing}: the server cannot be reached: {why}")]
    Unreachable {
        /// What was being done.
        doing: String,
        /// The causes, without the address.
        why: String,
    },
    /// The connection broke after the request was on its way: the server may have done what it asks.
    #[error("cannot {doing}: the connection broke: {why}")]
    Interrupted {
        /// What was being done.
        doing: String,
        /// The causes, without the address.
        why: String,
    },
    /// No whole answer within the deadline: the server may have done what the request asks.
    #[error("cannot {doing}: no answer within {after:?}")]
    Timeout {
        /// What was being done.
        doing: String,
        /// The deadline.
        after: Duration,
    },
    /// An answer that the protocol does not have.
    #[error("cannot {doing}: unexpected answer: {why}")]
    Unexpected {
        /// What was being done.
        doing: String,
        /// What is odd about it.
        why: String,
    },
    /// The credential cannot be read, or is none.
    #[error("the credential cannot be used: {0}")]
    Credential(String),
    /// A setting that no client can be made of.
    #[error("the HTTP client cannot be set up: {0}")]
    Settings(String),
}
