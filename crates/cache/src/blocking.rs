//! What waits for a disk or a processor, away from what must not wait.

use std::io;
use std::path::PathBuf;

use crate::CacheError;

/// Does it elsewhere. It goes on although nobody waits for it any more.
pub(crate) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    tokio::task::spawn_blocking(act).await.unwrap_or_else(|error| Err(broken(error)))
}

/// What was to be done elsewhere came to no end.
pub(crate) fn broken(error: tokio::task::JoinError) -> CacheError {
    CacheError::Io { what: "use", path: PathBuf::new(), source: io::Error::other(error) }
}
