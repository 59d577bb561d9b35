//! What tests make once and use again, in this run and the next. Everything there is named by its content.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The directory, in the cache that `make` names, made if need be. Every user may look into it: machines have users of
/// their own, and those have no way into the build's directory.
pub fn dir() -> PathBuf {
    let cache = std::env::var_os("FIREACTIONS_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/fireactions"), PathBuf::from);
    let dir = cache.join("tests");
    std::fs::create_dir_all(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}: run `make test`", dir.display()));
    dir
}

/// The path of what has this content, which `make` makes at another path that it is given, where it is not there yet.
pub fn made(name: &str, content: &[u8], suffix: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let path = dir().join(format!("{name}-{}{suffix}", key(content)));
    if !path.exists() {
        // Renamed into place, for test programs run side by side.
        let partial = tempfile::Builder::new().prefix(".making-").tempdir_in(dir()).unwrap();
        let made = partial.path().join("made");
        make(&made);
        // Should another have been first, its directory stays, and is the same.
        assert!(std::fs::rename(&made, &path).is_ok() || path.exists(), "{} cannot be made", path.display());
    }
    path
}

/// A name for this content.
pub fn key(content: &[u8]) -> String {
    hex(&Sha256::digest(content)[..8])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
