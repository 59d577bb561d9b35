//! Why an image could not be made available.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::{Digest, ImageRef};

/// Why an image operation failed. Clonable, because everybody who waited for the same pull hears the same answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImageError {
    /// The reference cannot be understood.
    #[error("'{reference}' is not an image reference: {why}")]
    Reference {
        /// As given.
        reference: String,
        /// What is wrong with it.
        why: String,
    },
    /// Pull policy `Never`, and it is not stored.
    #[error(
        "image '{0}' is not stored, and the pull policy is Never: pull it first (fireactions image pull {0})"
    )]
    NotPresent(ImageRef),
    /// It names a file of this host that the caller may not name.
    #[error(
        "image '{0}' is a file of the server's host, and in none of the directories that images may come from; put it into \
         one of images.local_dirs, or have the operator add its directory there"
    )]
    NotPermitted(ImageRef),
    /// The source has no such image.
    #[error("there is no image '{image}' at {at}: {}", plain(.why))]
    NotFound {
        /// As asked for.
        image: String,
        /// Registry host or path.
        at: String,
        /// Its own words.
        why: String,
    },
    /// The registry wants other credentials.
    #[error(
        "{registry} refused access to '{image}': {}; check the login for {registry} in Docker's config.json \
         (docker login {registry})", plain(.why)
    )]
    Denied {
        /// Host.
        registry: String,
        /// Repository.
        image: String,
        /// Its own words.
        why: String,
    },
    /// The registry could not be reached, or went on failing.
    #[error("registry {registry} is out of reach: {} (after {attempts} attempts)", plain(.why))]
    Unreachable {
        /// Host.
        registry: String,
        /// The last failure.
        why: String,
        /// How often it was tried.
        attempts: u32,
        /// When the registry wishes to be asked again.
        retry_after: Option<Duration>,
    },
    /// TLS with the registry fails, and will fail the next time.
    #[error("cannot use TLS with registry {registry}: {}", plain(.why))]
    Tls {
        /// Host.
        registry: String,
        /// Why, and what to do.
        why: String,
    },
    /// The registry answered something that is against the protocol.
    #[error("registry {registry} broke the distribution protocol: {}", plain(.why))]
    Protocol {
        /// Host.
        registry: String,
        /// What was wrong.
        why: String,
    },
    /// Content is not what its digest says.
    #[error(
        "{what} is damaged: expected {expected}, got {actual}; the source is corrupt or somebody tampered with it"
    )]
    DigestMismatch {
        /// "layer", "manifest", "config", "uncompressed layer".
        what: String,
        /// As announced.
        expected: Digest,
        /// As computed.
        actual: Digest,
    },
    /// The image is well-formed but of a kind that cannot be used here.
    #[error("the image cannot be used: {}", plain(.0))]
    Unsupported(String),
    /// The image's metadata or a layer is malformed or hostile.
    #[error("the image is malformed: {}", plain(.0))]
    Malformed(String),
    /// The image goes beyond a configured bound.
    #[error("the image is too large: {what} is more than {limit}; raise the limit if you trust the image")]
    TooLarge {
        /// Which bound.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// The filesystem of the store is full.
    #[error("the disk is full: no space left for {what} in {dir}; free some, or run 'fireactions image gc'")]
    DiskFull {
        /// What was being written.
        what: String,
        /// The store's directory.
        dir: PathBuf,
    },
    /// `tar2sqfs` failed.
    #[error("cannot make the squashfs: {}", plain(.0))]
    Squashfs(String),
    /// A layer's decompression failed, and not for what is in the layer.
    #[error("cannot unpack a layer: {}", plain(.0))]
    Unpack(String),
    /// Credentials are configured but could not be read.
    #[error("cannot get credentials for {registry}: {why}")]
    Credentials {
        /// Host.
        registry: String,
        /// What failed; never holds a secret.
        why: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// Verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// Another process uses the store.
    #[error("the image store {0} is in use by another process; only one server may use it")]
    Locked(PathBuf),
    /// Nothing stored matches.
    #[error("no stored image is called '{0}' (see: fireactions image list)")]
    Unknown(String),
    /// More than one stored image matches.
    #[error("'{0}' matches more than one stored image; give more characters of its digest")]
    Ambiguous(String),
    /// A machine uses it.
    #[error("image {0} is in use by a machine")]
    InUse(Digest),
    /// Everybody who wanted it left.
    #[error("the pull was cancelled")]
    Cancelled,
    /// A defect of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl ImageError {
    /// Whether another source of the same image may do better.
    pub(crate) fn is_of_source(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Denied { .. }
                | Self::Unreachable { .. }
                | Self::Tls { .. }
                | Self::Protocol { .. }
                | Self::DigestMismatch { .. }
                | Self::Malformed(_)
                | Self::Credentials { .. }
        )
    }
}

/// Longest part of a message that an image or a registry may bring, in characters.
const MAX_SHOWN: usize = 1000;

/// Text with words of an image or a registry in it, for a terminal: no control characters, no direction marks, and not
/// too long.
fn plain(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    };
    let show = |c: char| match c {
        '\n' => ' ',
        c if odd(c) => '\u{fffd}',
        c => c,
    };
    let mut shown: String = text.chars().take(MAX_SHOWN).map(show).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

impl ImageError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            let dir = path.parent().unwrap_or(path).to_path_buf();
            return Self::DiskFull { what: format!("'{}'", path.display()), dir };
        }
        Self::Io { action, path: path.to_path_buf(), source: Arc::new(source) }
    }

    pub(crate) fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }
}
