//! Who asks, and from where.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::lease::Lease;
use super::token::Token;
use crate::{Role, Session, Via};

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

/// The key whose token this is. It is compared with all of them, so that how long it takes does not tell which.
pub(super) fn matching<'a>(token: &str, keys: &'a [Key]) -> Option<&'a Key> {
    let sent = Token::new(token).ok()?;
    keys.iter().fold(None, |known, key| if key.token.is(&sent) { Some(key) } else { known })
}

/// Who has asked, as it stands in the log.
#[derive(Debug, Clone)]
pub(in crate::server) struct Caller {
    /// The name of its token; where there is none, how it came.
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) via: Via,
    /// The login that it came with.
    pub(super) login: Option<Lease>,
}

impl Caller {
    pub(super) fn of(key: &Key, via: Via) -> Self {
        Self { name: key.name.clone(), role: key.role, via, login: None }
    }

    /// A caller of another host, which vouches for it.
    pub(in crate::server) fn of_host(caller: &str, host: &str, role: Role) -> Self {
        Self { name: crate::fault::line(&format!("{caller} at {host}")), role, via: Via::Token, login: None }
    }

    /// As it stands in the log.
    pub(in crate::server) fn name(&self) -> &str {
        &self.name
    }

    /// What it may do.
    pub(in crate::server) const fn role(&self) -> Role {
        self.role
    }

    /// Returns when the caller is logged out; of others, never.
    pub(in crate::server) async fn logged_out(&self) {
        match &self.login {
            Some(login) => login.ended().await,
            None => std::future::pending().await,
        }
    }

    /// What it is told about itself.
    pub(in crate::server) fn session(self) -> Session {
        let Self { name, role, via, .. } = self;
        Session { name, role, via, login: matches!(via, Via::Token | Via::Cookie) }
    }
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

/// Where a request comes from: the other end of the connection and, if that is a proxy of this host, whom it speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) peer: Option<Peer>,
    pub(super) behind: Option<IpAddr>,
}

impl Source {
    /// The address whose guesses are counted together: a network of IPv6 has more addresses than anybody can count.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let peer = match self.peer {
            Some(Peer::Remote(address)) => Some(address.ip()),
            _ => None,
        };
        Some(match self.behind.or(peer)?.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.behind, self.peer) {
            (Some(behind), Some(peer)) => write!(f, "{behind} by {peer}"),
            (Some(behind), None) => behind.fmt(f),
            (None, Some(peer)) => peer.fmt(f),
            (None, None) => f.write_str("unknown"),
        }
    }
}
