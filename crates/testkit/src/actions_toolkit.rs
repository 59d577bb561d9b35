//! GitHub's own clients of its cache service, from npm.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

/// The directory of packages that `scripts/cache-toolkit` fetches; nothing where they are not there, and then it is said
/// that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `toolkit` and they are not there.
pub fn available(test: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/cache-toolkit");
    let said = Command::new(&script).arg("--where").output();
    let said = said.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(said.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&said.stderr));
    let dir = PathBuf::from(String::from_utf8(said.stdout).unwrap().trim());
    if dir.join("node_modules").is_dir() {
        return Some(dir);
    }
    let why = format!(
        "{} is not there: install Node.js 20 or newer with npm, and run `scripts/cache-toolkit`",
        dir.display()
    );
    skip::say(skip::Kind::Toolkit, test, &why);
    None
}
