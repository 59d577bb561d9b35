//! Replacing a file so that there is always a whole one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes beside the file, and renames. The caller has the lock, so there is one name for what is not ready yet, and what a
/// killed process left there is written over.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it is no file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = path.with_file_name(beside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    file.write_all(half)?;
    fail::fail_point!("fleet::registry-half-written");
    file.write_all(rest)?;
    if let Ok(old) = std::fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    fail::fail_point!("fleet::registry-written");
    std::fs::rename(&beside, path)?;
    fail::fail_point!("fleet::registry-renamed");
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
