//! Small files in the state directory for the next server: the server's alone, whole at any moment, and never needed.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest file that is read or written.
const LARGEST: u64 = 8 << 20;

/// What an earlier server left; nothing where there is no file.
pub(super) fn read<T: DeserializeOwned>(file: &Path) -> io::Result<Option<T>> {
    let opened = match OpenOptions::new().read(true).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    opened.take(LARGEST + 1).read_to_end(&mut bytes)?;
    check(&bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Replaces the file.
pub(super) fn write(file: &Path, what: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(what)?;
    check(&bytes)?;
    // Always of this name, so that a server that is killed in between leaves one at most.
    let fresh = file.with_extension("new");
    let mut opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    opened.set_permissions(Permissions::from_mode(0o600))?;
    opened.write_all(&bytes)?;
    std::fs::rename(&fresh, file)
}

fn check(bytes: &[u8]) -> io::Result<()> {
    if bytes.len() as u64 > LARGEST { Err(io::Error::other("it is too large")) } else { Ok(()) }
}
