//! The module's unit: the packaged one, closed further.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::nix::{pure, repository};

fn unit(driver: &str) -> String {
    let program = env!("CARGO_BIN_EXE_fireactions");
    let text = pure(&format!(
        r#"unit {{ driver = "{driver}"; program = "{program}"; config = "/etc/fireactions/config.yaml"; }}"#
    ));
    // `kill` comes from the module's own package.
    text.as_str().unwrap().replace("=kill ", "=/bin/kill ")
}

/// What the service manager says of a unit file, and whether it says anything at all.
pub(crate) fn verify(name: &str, text: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("{name}.service"));
    fs::write(&path, text).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
    let verified = verified.expect("systemd-analyze (systemd) is needed: run `make test`");
    // It succeeds on a line that it does not know, with a warning. What it says of others' units does not count.
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let ours = said.lines().any(|line| line.contains(name));
    if verified.status.success() && !ours { Ok(()) } else { Err(said) }
}

/// The exposure of a unit file.
pub(crate) fn exposure(text: &str) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fireactions.service");
    fs::write(&path, text).unwrap();
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout).into_owned();
    let level = said
        .lines()
        .find_map(|line| line.split_once("exposure level for fireactions.service: "))
        .unwrap_or_else(|| panic!("{said}"));
    level.1.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_service_manager_takes_the_module_s_unit_without_a_word() {
    for driver in ["firecracker", "qemu"] {
        verify("fireactions", &unit(driver)).unwrap();
    }
    let wrong = unit("qemu").replace("PrivateMounts", "PrivateMount");
    assert!(
        verify("fireactions", &wrong).unwrap_err().contains("PrivateMount"),
        "verify finds what is wrong"
    );
}

#[test]
fn the_module_s_unit_is_exposed_by_4_at_most() {
    for driver in ["firecracker", "qemu"] {
        let exposure = exposure(&unit(driver));
        assert!(exposure <= 4.0, "{driver}: {exposure}");
    }
}

/// Directives with all their values.
fn directives(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, value)) = line.split_once('=') {
            all.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    all
}

#[test]
fn whatever_the_packaged_unit_says_the_module_s_says() {
    let packaged = fs::read_to_string(repository().join("packaging/systemd/fireactions.service")).unwrap();
    let packaged =
        directives(&packaged.replace("/usr/local/bin/fireactions", env!("CARGO_BIN_EXE_fireactions")));
    let ours = directives(&unit("firecracker"));
    assert!(packaged.len() > 40, "{packaged:?}");
    // Closed further: these have another value.
    let closed = ["ProtectHome"];
    for (key, values) in packaged.iter().filter(|(key, _)| !closed.contains(&key.as_str())) {
        let has = ours.get(key).unwrap_or_else(|| panic!("the module's unit lacks {key}"));
        assert!(values.iter().all(|value| has.contains(value)), "{key}: {values:?} is not in {has:?}");
    }
}

/// The filter answers "not permitted" to a call with one that is missing, and then VMMs are in the host's own.
#[test]
fn the_network_namespace_that_each_vmm_is_to_have_may_be_made() {
    let packaged = fs::read_to_string(repository().join("packaging/systemd/fireactions.service")).unwrap();
    for text in [packaged, unit("firecracker"), unit("qemu")] {
        let all = directives(&text);
        // The last one counts.
        let allowed = all["RestrictNamespaces"].last().unwrap();
        assert!(allowed.split_whitespace().any(|name| name == "net"), "{allowed}");
    }
}
