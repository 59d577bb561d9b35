//! Where things are that tests read and this repository does not have: beside the published descriptions.

use std::env;
use std::path::{Path, PathBuf};

use crate::skip;

/// A directory beside the one that `FIREACTIONS_SPECS` names; nothing, said loudly on behalf of `test`, where there is none.
///
/// # Panics
///
/// When `FIREACTIONS_SPECS` is set and there is none.
pub(crate) fn directory(test: &str, name: &str) -> Option<PathBuf> {
    let given = env::var_os("FIREACTIONS_SPECS").filter(|dir| !dir.is_empty());
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/specs");
    let directory = given.clone().map_or_else(beside, PathBuf::from).join("..").join(name);
    if directory.is_dir() {
        return Some(directory);
    }
    assert!(given.is_none(), "FIREACTIONS_SPECS: there is no {}", directory.display());
    let why = format!("no {name}; set FIREACTIONS_SPECS to the directory beside it");
    skip::say(skip::Kind::Specs, test, &why);
    None
}
