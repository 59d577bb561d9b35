//! What can go wrong, in words for whoever reads the log of a job.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the cache did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// No token, one that nobody gave out, or one whose job has ended.
    #[error("the cache does not know this caller: {0}")]
    Unknown(&'static str),
    /// The job may only read.
    #[error("cache write denied: this job may read caches, and save none")]
    WriteDenied,
    /// The job may not read.
    #[error("cache read denied: this job may read no caches")]
    ReadDenied,
    /// Entries do not change. The words are those that clients know from GitHub.
    #[error("cache entry with the same key, version, and scope already exists")]
    Exists,
    /// Somebody else uploads this entry at the moment.
    #[error("another job is saving a cache with the same key, version, and scope")]
    Reserved,
    /// There is no such upload or entry (any more).
    #[error("there is no {0} here: it may have been idle for too long, or its job has ended")]
    NotFound(&'static str),
    /// A request that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A range that is not in the content.
    #[error("there is no range '{range}' in {size} bytes")]
    Range {
        /// As it was asked for.
        range: String,
        /// Of the content.
        size: u64,
    },
    /// Something is larger than the configuration allows.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// In bytes.
        limit: u64,
    },
    /// A body of unknown length.
    #[error("the length of what is uploaded must be told (Content-Length)")]
    NoLength,
    /// The job holds as much as it may.
    #[error("this job has {0} open already, which is the limit: finish one and try again")]
    TooMany(String),
    /// The cache has no place for it.
    #[error(
        "the host's cache has no room for {wanted} more bytes: its limits are reached by uploads alone, or its disk is almost full"
    )]
    NoRoom {
        /// In bytes.
        wanted: u64,
    },
    /// The client sent nothing for too long.
    #[error("the upload sent nothing for {} seconds and was ended", .0.as_secs())]
    Stalled(Duration),
    /// Fewer bytes than were announced, or the connection was cut.
    #[error("the upload ended after {got} of {announced} bytes")]
    Short {
        /// Bytes that came.
        got: u64,
        /// Bytes that were to come.
        announced: u64,
    },
    /// The file system is full.
    #[error("the disk of the host's cache is full")]
    Full,
    /// The bucket did not do what it was asked for.
    #[error("the bucket of the cache cannot {what}: {why}")]
    Bucket {
        /// What was tried ("save").
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// The file system failed.
    #[error("the cache cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried ("write").
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl CacheError {
    /// For `map_err` after a call to the file system. A full disk has words of its own.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io { what, path: path.to_owned(), source },
        }
    }

    /// Whether it is the host's fault, and worth a line in its log.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Full | Self::Bucket { .. })
    }
}
