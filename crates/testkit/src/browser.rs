//! A real browser, and what drives it, for tests of the page.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

/// Debian's.
const CHROMIUM: &str = "/usr/bin/chromium";
/// The oldest Node.js that will do.
const NODE: u32 = 20;

/// The directory of the page's source, with what its tests need, a browser among it; nothing where that is not there, and then
/// it is said that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `browser` and something is not there.
pub fn available(test: &str) -> Option<PathBuf> {
    let web = tools(test)?;
    if Path::new(CHROMIUM).exists() {
        return Some(web);
    }
    say(test, "/usr/bin/chromium: install Debian's package `chromium`");
    None
}

/// The same without a browser.
///
/// # Panics
///
/// As [`available`].
pub fn tools(test: &str) -> Option<PathBuf> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    if node().is_none_or(|version| version < NODE) {
        say(test, "Node.js 20 or newer");
    } else if !web.join("node_modules/esbuild").exists() || !web.join("dist/index.html.gz").exists() {
        say(test, "page: run `scripts/build-page`, and build again");
    } else {
        return Some(web.canonicalize().unwrap());
    }
    None
}

fn say(test: &str, missing: &str) {
    skip::say(skip::Kind::Browser, test, &format!("there is no {missing}"));
}

/// The major version of Node.js.
fn node() -> Option<u32> {
    let said = Command::new("node").args(["-p", "process.versions.node.split('.')[0]"]).output().ok()?;
    String::from_utf8(said.stdout).ok()?.trim().parse().ok()
}
