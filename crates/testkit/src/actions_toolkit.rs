//! GitHub's own clients of its cache service, from npm.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use crate::{fetched, skip};

/// The directory of packages that `scripts/cache-toolkit` fetches; nothing where they are not there, and then it is said
/// that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `toolkit` and they are not there.
pub fn available(test: &str) -> Option<PathBuf> {
    fetched::packages("cache-toolkit", skip::Kind::Toolkit, test)
}
