//! Nix: with a store of its own, without a daemon, a sandbox or a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// The repository.
pub(crate) fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap()
}

/// What a failed program said, without what Nix says of this host.
pub(crate) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines()
        .filter(|line| !line.contains("'build-users-group'"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// One store for all tests of a run: what one has built, the next one has.
fn home() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = std::env::temp_dir().join("fireactions-nix");
        fs::create_dir_all(home.join("conf")).unwrap();
        let conf = "experimental-features = nix-command flakes\nsandbox = false\nbuild-users-group =\nsubstitute = false\n";
        // Tests of several processes write the same.
        let new = home.join(format!("conf/{}", std::process::id()));
        fs::write(&new, conf).unwrap();
        fs::rename(new, home.join("conf/nix.conf")).unwrap();
        home
    })
}

/// A program of Nix, in the repository.
pub(crate) fn command(program: &str) -> Command {
    let home = home();
    let mut command = Command::new(program);
    command.current_dir(repository()).env("NIX_CONF_DIR", home.join("conf")).env("HOME", home);
    command.env_remove("NIX_PATH");
    for (variable, dir) in [
        ("NIX_STORE_DIR", "store"),
        ("NIX_STATE_DIR", "var"),
        ("NIX_LOCALSTATE_DIR", "var"),
        ("NIX_LOG_DIR", "log"),
    ] {
        command.env(variable, home.join(dir));
    }
    command
}

fn run(mut command: Command) -> Output {
    command.output().expect("Nix (nix-bin) is needed: run `make test`")
}

/// The value of an expression, or what Nix says against it.
pub(crate) fn try_eval(expression: &str) -> Result<Value, String> {
    let mut nix = command("nix-instantiate");
    nix.args(["--eval", "--strict", "--json", "--read-write-mode", "--expr", expression]);
    let output = run(nix);
    if !output.status.success() {
        return Err(said(&output));
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// The value of an expression.
pub(crate) fn eval(expression: &str) -> Value {
    try_eval(expression).unwrap_or_else(|said| panic!("{expression}\n{said}"))
}

/// The value of an expression with what `tests/nix/pure.nix` has.
pub(crate) fn pure(expression: &str) -> Value {
    eval(&format!("with import ./tests/nix/pure.nix; {expression}"))
}

/// As [`pure`]; what Nix says against it is wanted.
pub(crate) fn pure_error(expression: &str) -> String {
    try_eval(&format!("with import ./tests/nix/pure.nix; {expression}")).unwrap_err()
}

/// Builds an expression's derivation, or says what its builder said.
pub(crate) fn try_build(expression: &str) -> Result<PathBuf, String> {
    let mut nix = command("nix-build");
    nix.args(["--no-out-link", "--expr", expression]);
    let output = run(nix);
    if !output.status.success() {
        return Err(said(&output));
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
}

/// Every `.nix` file.
pub(crate) fn files() -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut dirs = vec![repository()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && name != ".git" {
                    dirs.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "nix") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

#[test]
fn every_file_parses() {
    let files = files();
    assert!(files.len() > 60, "{files:?}");
    let mut nix = command("nix-instantiate");
    nix.arg("--parse").args(&files);
    let output = run(nix);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_lock_has_the_inputs_of_the_flake_and_true_hashes_alone() {
    let lock: Value =
        serde_json::from_str(&fs::read_to_string(repository().join("flake.lock")).unwrap()).unwrap();
    let asked = eval("builtins.attrNames (import ./flake.nix).inputs");
    let locked: Vec<&str> =
        lock["nodes"]["root"]["inputs"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(asked, serde_json::json!(locked));
    for (name, node) in lock["nodes"].as_object().unwrap().iter().filter(|(name, _)| *name != "root") {
        let hash = node["locked"]["narHash"].as_str().unwrap();
        assert!(hash.starts_with("sha256-") && !hash.contains("AAAAAAAA"), "{name}: {hash}");
        assert_eq!(node["locked"]["rev"].as_str().unwrap().len(), 40, "{name}");
    }
}
