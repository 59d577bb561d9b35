//! The runners of Gitea and Forgejo in a guest: the stand-in for both (`crates/testkit-runner`), or the real programs,
//! where `FIREACTIONS_ACT_RUNNER` and `FIREACTIONS_FORGEJO_RUNNER` name them.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::{busybox, skip};

/// The programs' names in an image, and the variables that name real ones.
const PROGRAMS: [(&str, &str); 2] =
    [("act_runner", "FIREACTIONS_ACT_RUNNER"), ("forgejo-runner", "FIREACTIONS_FORGEJO_RUNNER")];

/// Reference of an image with busybox and both runners in `/bin`, for a configuration.
pub fn image() -> String {
    static REFERENCE: OnceLock<String> = OnceLock::new();
    let make = || {
        let mut layers = vec![busybox::layer()];
        for (name, variable) in PROGRAMS {
            let program = std::env::var_os(variable).map_or_else(standin, PathBuf::from);
            let bytes =
                std::fs::read(&program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
            layers.push(busybox::layer_of(&format!("bin/{name}"), &bytes));
        }
        busybox::kept(&busybox::archive(&layers))
    };
    REFERENCE.get_or_init(make).clone()
}

/// Whether the image has a real act_runner. If not, it is said that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `runners` and there is none.
pub fn is_real(test: &str) -> bool {
    let (_, variable) = PROGRAMS[0];
    let given = std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    if !given {
        skip::say(skip::Kind::Runners, test, &format!("{variable} does not name an act_runner"));
    }
    given
}

/// The stand-in, as `make standin` built it.
///
/// # Panics
///
/// When it is not built, saying what to do.
pub fn standin() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let path = root.join("target/x86_64-unknown-linux-gnu/agent/fireactions-testkit-runner");
    assert!(path.is_file(), "{} is not there: run `make standin`", path.display());
    path
}
