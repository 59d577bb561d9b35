//! Who asks, and from where.

use std::fmt;
use std::net::SocketAddr;

use super::token::Token;

/// What a caller may do. Each may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at everything but secrets.
    Viewer,
    /// Submit and cancel jobs, remove machines, run commands in them.
    Operator,
    /// Change pools, images and the host.
    Admin,
}

impl Role {
    /// Its name, as the configuration has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A token, whose it is, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whose it is, for the log.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The token.
    pub token: Token,
}

/// Who has asked, as it stands in the log.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The name of its token; where there is none, how it came.
    pub(super) name: String,
    pub(super) role: Role,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process of this host, by the user that it runs as.
    Local {
        /// Its user id; `None` when the kernel does not say.
        uid: Option<u32>,
    },
    /// A program at this address.
    Remote(SocketAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid: Some(uid) } => write!(f, "uid {uid}"),
            Self::Local { uid: None } => f.write_str("this host"),
            Self::Remote(address) => address.fmt(f),
        }
    }
}
