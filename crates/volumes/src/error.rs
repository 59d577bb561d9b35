//! Why a volume cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use fireactions_image::scratch::ScratchError;

/// Why a volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// A file operation failed; "No space left on device" is one.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// Verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be copied.
    #[error(transparent)]
    Copy(#[from] ScratchError),
    /// What was to be kept is not the disk that its machine was given.
    #[error("{path} is not a file of {mib} MiB any more, and is not kept")]
    NotADisk {
        /// The disk.
        path: PathBuf,
        /// What it should be.
        mib: u32,
    },
    /// There is no room, whatever else goes.
    #[error(
        "there is no room for a volume of {bytes} bytes beside what is to stay free; raise sticky.max_size_mib, or free some of the disk"
    )]
    NoRoom {
        /// What it takes on the disk.
        bytes: u64,
    },
}

impl VolumeError {
    pub(crate) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_path_buf(), source }
    }
}
