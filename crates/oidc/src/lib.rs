//! OpenID Connect, as the one who asks: who somebody is, and which groups they are in, by a provider's word. The authorization code
//! flow with PKCE (RFC 7636), `state` and `nonce`; the provider's keys check what it signs.
//!
//! Nothing is kept here, and nothing is known of sessions: whoever begins a login keeps its [`Pending`] until it ends.

mod discovery;
mod error;
mod exchange;
mod identity;
mod pending;
mod provider;

pub use error::Error;
pub use identity::Identity;
pub use pending::Pending;
pub use provider::{Provider, Settings};
