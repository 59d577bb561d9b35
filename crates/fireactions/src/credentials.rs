//! What systemd gives a service to keep secret.

use std::path::PathBuf;

/// The directory with its credentials; none where it has none.
pub(crate) fn directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}
