//! Which program it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::skip;

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
    let dir = place();
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

/// The directory that the script would build into: it knows of what the name is made.
fn place() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/build-gitea");
    let said = Command::new(&script).arg("--where").output();
    let said = said.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(said.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&said.stderr));
    PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
}
