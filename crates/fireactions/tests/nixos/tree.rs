//! Evaluation with the real option types: where `NIXPKGS_TREE` names a nixpkgs, or the parts of one that evaluation needs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use fireactions_testkit::skip::{self, Kind};
use serde_json::Value;

use crate::nix::{eval, repository, try_build};
use crate::unit::verify;

/// The tree; none where the test does not run.
pub(crate) fn tree(test: &str) -> Option<String> {
    let named = env::var("NIXPKGS_TREE")
        .ok()
        .filter(|path| Path::new(path).join("nixos/lib/eval-config.nix").exists());
    if named.is_none() {
        skip::say(Kind::Nixpkgs, test, "NIXPKGS_TREE names no nixpkgs (docs/testing.md)");
    }
    named
}

fn path_or_null(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| "null".to_owned())
}

const MODULES: &str = "./modules/fireactions ./modules/fireteact";

/// `expression` over a system of these modules.
pub(crate) fn of(tree: &str, modules: &str, expression: &str) -> String {
    let binary = env!("CARGO_BIN_EXE_fireactions");
    format!(
        "with import ./tests/nix/eval.nix {{ tree = {tree}; binary = \"{binary}\"; modules = [ {MODULES} {modules} ]; }}; {expression}"
    )
}

/// The failed assertions of a system for each of these modules. In one look: the option types are read once.
pub(crate) fn failed(tree: &str, all: &[String]) -> Vec<Vec<String>> {
    let systems: String = all
        .iter()
        .map(|modules| of(tree, modules, "failed"))
        .fold(String::new(), |list, one| list + " (" + &one + ")");
    serde_json::from_value(eval(&format!("[ {systems} ]"))).unwrap()
}

/// `expression` over the flake's outputs.
pub(crate) fn flake(tree: &str, expression: &str) -> String {
    let (binary, disko, sops) =
        (env!("CARGO_BIN_EXE_fireactions"), path_or_null("DISKO_TREE"), path_or_null("SOPS_NIX_TREE"));
    format!(
        "with import ./tests/nix/inputs.nix {{ tree = {tree}; binary = \"{binary}\"; disko = {disko}; sops = {sops}; }}; {expression}"
    )
}

pub(crate) fn cases(dir: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(repository().join("tests/nix").join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

/// Builds a service's configuration, which the server judges there, and its unit, which the service manager judges.
pub(crate) fn whole(tree: &str, modules: &str, service: &str) -> (Value, String) {
    let etc = format!("config.environment.etc.\"{service}/config.yaml\".source");
    try_build(&of(tree, modules, &etc)).unwrap_or_else(|said| panic!("{modules}: {said}"));
    let config = eval(&of(tree, modules, &format!("config.services.{service}.renderedConfig")));
    // The unit's programs are there once it is built.
    let unit = format!("(config.systemd.units.\"{service}.service\".unit)");
    let built = try_build(&of(tree, modules, &unit)).unwrap_or_else(|said| panic!("{modules}: {said}"));
    let text = fs::read_to_string(built.join(format!("{service}.service"))).unwrap();
    verify(service, &here(&text)).unwrap_or_else(|said| panic!("{modules}: {said}\n{text}"));
    (config, text)
}

/// With this host's programs where a stand-in of nixpkgs has none.
pub(crate) fn here(unit: &str) -> String {
    let line = |line: &str| {
        let program = line.split_once('=').map_or("", |(_, value)| value.split(' ').next().unwrap_or(""));
        let lacks = ["/bin/kill", "/bin/nft", "/bin/nats-server"].iter().any(|name| program.ends_with(name))
            && !Path::new(program).exists();
        if lacks { line.replace(program, "/bin/sh") + "\n" } else { format!("{line}\n") }
    };
    unit.lines().map(line).collect()
}
