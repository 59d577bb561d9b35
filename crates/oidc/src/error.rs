//! Why somebody is not logged in.

/// Why nobody knows who somebody is. No token is in any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The provider cannot be reached, or sends something else than the protocol has.
    #[error(transparent)]
    Http(#[from] fireactions_http::Error),
    /// The provider says of itself what does not fit.
    #[error("the provider's configuration cannot be used: {0}")]
    Discovery(String),
    /// The provider refuses.
    #[error("the provider has refused: {0}")]
    Refused(String),
    /// What the provider has signed is not for us, not now, or not signed by it.
    #[error("the provider's answer is not valid: {0}")]
    Invalid(String),
}
