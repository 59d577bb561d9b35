//! The units that are packaged are ones that the service manager takes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::text;

#[test]
fn the_service_manager_takes_the_units_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    let mut paths = Vec::new();
    for unit in fs::read_dir(units).unwrap().map(Result::unwrap) {
        // It looks for the programs, too, and they are not installed here.
        let said = fs::read_to_string(unit.path()).unwrap();
        let here = said.replace("/usr/local/bin/fireactions", env!("CARGO_BIN_EXE_fireactions"));
        let path = dir.path().join(unit.file_name());
        fs::write(&path, here).unwrap();
        paths.push(path);
    }
    assert!(paths.len() >= 2, "the units are not there: {paths:?}");
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&paths).output();
    let verified = verified.expect("systemd-analyze (systemd) is needed: run `make test`");
    // It succeeds on a line that it does not know, with a warning. What it says of others' units does not count.
    let said = text(&verified.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("fireactions")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}
