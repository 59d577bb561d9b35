//! What is kept beside the published descriptions of APIs, and read there.

// Only tests link this crate, and there what cannot be read is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use crate::lines::given;
use crate::skip;

/// The directory of published descriptions, which `FIREACTIONS_SPECS` names, and whether it does.
pub(crate) fn specs() -> (PathBuf, bool) {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/specs");
    let named = given("FIREACTIONS_SPECS");
    let is_named = named.is_some();
    (named.map_or_else(beside, PathBuf::from), is_named)
}

/// The directory `name` beside the descriptions; nothing, said loudly on behalf of `test`, where there is none.
pub(crate) fn directory(test: &str, name: &str) -> Option<PathBuf> {
    let (specs, is_named) = specs();
    let directory = specs.join("..").join(name);
    if directory.is_dir() {
        return Some(directory);
    }
    assert!(!is_named, "FIREACTIONS_SPECS: there is no {}", directory.display());
    let why = format!("no {name}; set FIREACTIONS_SPECS to the directory beside it");
    skip::say(skip::Kind::Specs, test, &why);
    None
}

/// The directory of an input that once failed, in `../cases` of the directory that `FIREACTIONS_SPECS` names; nothing, said
/// loudly on behalf of `test`, where there is none.
///
/// # Panics
///
/// When `FIREACTIONS_SPECS` is set and it is not there.
pub fn case(test: &str, name: &str) -> Option<PathBuf> {
    directory(test, "cases").map(|cases| {
        let case = cases.join(name).canonicalize();
        case.unwrap_or_else(|error| panic!("{}: {error}", cases.join(name).display()))
    })
}
