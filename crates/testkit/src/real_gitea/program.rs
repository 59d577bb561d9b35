//! Which program it is.

use std::path::PathBuf;

use crate::{fetched, skip};

/// A Gitea, or a Forgejo, whose settings and command line are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub(super) binary: PathBuf,
    /// Templates, options and pictures.
    pub(super) files: PathBuf,
}

/// The Gitea of `make gitea`; nothing where it is not built, and then it is said that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `gitea` and there is none.
pub fn available(test: &str) -> Option<Program> {
    let dir = fetched::place("build-gitea");
    let program = Program { binary: dir.join("gitea"), files: dir.join("static") };
    if program.binary.is_file() {
        return Some(program);
    }
    skip::say(
        skip::Kind::Gitea,
        test,
        &format!("{} is not there: run `make gitea`", program.binary.display()),
    );
    None
}

/// A Forgejo for the same tests: `FIREACTIONS_FORGEJO_BIN` is the program, `FIREACTIONS_FORGEJO_FILES` a directory with its
/// `templates` and `options`. Nothing where they are not given, and then it is said that `test` does not run.
///
/// # Panics
///
/// When `FIREACTIONS_REQUIRE` has `forgejo` and there is none.
pub fn forgejo(test: &str) -> Option<Program> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let program = given("FIREACTIONS_FORGEJO_BIN").zip(given("FIREACTIONS_FORGEJO_FILES"));
    if program.is_none() {
        let why = "FIREACTIONS_FORGEJO_BIN and FIREACTIONS_FORGEJO_FILES do not name a Forgejo and its files";
        skip::say(skip::Kind::Forgejo, test, why);
    }
    program.map(|(binary, files)| Program { binary, files })
}
