//! Why a call failed, and what to do about it.

use std::error::Error;
use std::io;

use super::Target;
use crate::{Code, Fault};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("cannot reach the server at {target}: {message}")]
    Unreachable {
        /// Where.
        target: Target,
        /// The system's kind, where known.
        kind: Option<io::ErrorKind>,
        /// The system's words.
        message: String,
    },
    /// The connection broke, or the answer did not come in time.
    #[error("the connection to the server at {target} broke: {message}")]
    Broken {
        /// Where.
        target: Target,
        /// What happened.
        message: String,
    },
    /// The server said no.
    #[error("{0}")]
    Refused(Fault),
    /// Something answers there that is not a fireactions server of this kind.
    #[error("the server at {target} sent {message}")]
    Protocol {
        /// Where.
        target: Target,
        /// What it sent.
        message: String,
    },
    /// Something between here and the server answers that it does not reach it.
    #[error("the server at {target} is not reached by what is in front of it, which answers {status}")]
    Away {
        /// Where.
        target: Target,
        /// 502, 503 or 504.
        status: reqwest::StatusCode,
    },
    /// A file to send cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ClientError {
    pub(super) fn setup(target: &Target, message: impl Into<String>) -> Self {
        Self::Unreachable { target: target.clone(), kind: None, message: message.into() }
    }

    pub(super) fn transport(target: &Target, error: &reqwest::Error) -> Self {
        let target = target.clone();
        if error.is_connect() || error.is_builder() {
            let kind = cause(error).map(io::Error::kind);
            let message = cause(error).map_or_else(|| chain(error), ToString::to_string);
            Self::Unreachable { target, kind, message }
        } else if error.is_timeout() {
            Self::Broken { target, message: "it did not answer in time".to_owned() }
        } else {
            Self::Broken { target, message: chain(error) }
        }
    }

    /// True when the same call may work in a moment: the server is restarting, or busy.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { kind, .. } => matches!(
                kind,
                Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut)
            ),
            Self::Broken { .. } | Self::Away { .. } => true,
            Self::Refused(fault) => matches!(fault.code, Code::Unavailable | Code::Timeout),
            Self::Protocol { .. } | Self::File { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(fault) => fault.hint.clone(),
            Self::Unreachable { kind: Some(io::ErrorKind::PermissionDenied), target: Target::Socket(path), .. } => {
                Some(format!(
                    "Run this as root or as a member of the group that owns {} (see `ls -l {0}`).",
                    path.display()
                ))
            }
            Self::Unreachable { target: Target::Socket(_), .. } => Some(
                "Is it running? Start it with `fireactions server --config FILE`, or name its socket with --socket PATH."
                    .to_owned(),
            ),
            Self::Unreachable { target: Target::Url(_), .. } => {
                Some("Is the URL right, and does the server's bind_address listen there?".to_owned())
            }
            Self::Broken { .. } => {
                Some("The server may have been restarted: try again; its log says more.".to_owned())
            }
            Self::Away { .. } => Some(
                "The server may be restarting: try again. Else ask the reverse proxy where it looks for the server.".to_owned(),
            ),
            Self::Protocol { .. } => {
                Some("Client and server may be of different versions: compare `fireactions version`.".to_owned())
            }
            Self::File { .. } => None,
        }
    }
}

/// An error and its causes in one line, without the repetitions of reqwest's own messages.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    let mut found = None;
    while let Some(error) = next {
        found = error.downcast_ref::<io::Error>().or(found);
        next = error.source();
    }
    found
}
