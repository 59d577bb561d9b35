//! Files and directories of the store's own.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::ImageError;

/// What is in a directory.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let failed = |e| ImageError::io("list", dir, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    Ok(paths)
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), ImageError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(ImageError::io("remove", path, e)),
        Ok(()) => Ok(()),
    }
}

/// A JSON document, if it is there and whole.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Makes names in a directory durable.
pub(crate) fn sync_directory(dir: &Path) -> Result<(), ImageError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| ImageError::io("sync", dir, e))
}

/// Removes a directory of plain files, or whatever is there.
pub(crate) fn remove_tree(path: &Path) -> Result<(), ImageError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|e| ImageError::io("remove", path, e)),
    }
}
