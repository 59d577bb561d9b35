//! What the project's scripts fetch or build for tests, in the cache.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

/// Where this script of `scripts/` puts what it makes: it knows of what the name is made.
pub(crate) fn place(script: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(script);
    let said = Command::new(&script).arg("--where").output();
    let said = said.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(said.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&said.stderr));
    PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
}

/// The program that this script builds; nothing where it is not there, and then it is said that `test` does not run.
pub(crate) fn program(script: &str, kind: skip::Kind, test: &str) -> Option<PathBuf> {
    let program = place(script);
    if program.is_file() {
        return Some(program);
    }
    skip::say(kind, test, &format!("{} is not there: run `scripts/{script}`", program.display()));
    None
}

/// The directory of npm's packages that this script fetches; nothing where they are not there, and then it is said that `test` does
/// not run.
pub(crate) fn packages(script: &str, kind: skip::Kind, test: &str) -> Option<PathBuf> {
    let dir = place(script);
    if dir.join("node_modules").is_dir() {
        return Some(dir);
    }
    let why = format!(
        "{} is not there: install Node.js 20 or newer with npm, and run `scripts/{script}`",
        dir.display()
    );
    skip::say(kind, test, &why);
    None
}
