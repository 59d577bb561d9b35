//! The tests in virtual machines, which need KVM: here their hosts are evaluated, and their scripts compiled.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::nix::{eval, repository, try_build};
use crate::tree::{flake, tree};

/// Their names.
fn names() -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(repository().join("tests/nixos"))
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".nix").filter(|name| !name.starts_with('_')).map(str::to_owned)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn their_scripts_are_python() {
    for name in names() {
        let script = eval(&format!("(import ./tests/nixos/{name}.nix).testScript"));
        let mut python = Command::new("python3")
            .args(["-c", "import sys; compile(sys.stdin.read(), sys.argv[1], 'exec')", &name])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is needed: run `make test`");
        python.stdin.take().unwrap().write_all(script.as_str().unwrap().as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn their_hosts_evaluate_and_the_server_takes_their_configurations() {
    let Some(tree) = tree("their_hosts_evaluate_and_the_server_takes_their_configurations") else { return };
    let names = names();
    assert_eq!(names, ["gitea", "one-host", "restart-keeps-jobs", "two-services"]);
    let checks = eval(&flake(&tree, "builtins.attrNames outputs.checks.x86_64-linux"));
    for name in &names {
        assert!(checks.as_array().unwrap().contains(&json!(format!("vm-{name}"))), "{name}: {checks}");
    }

    // All of them in one look, which reads the options once.
    let list = format!("[ \"{}\" ]", names.join("\" \""));
    let look = format!(
        r#"let
          nodes = builtins.listToAttrs (map (name: {{ inherit name; value = (vmTest (./tests/nixos + "/${{name}}.nix")).nodes; }}) {list});
          services = node: builtins.filter (service: node.services.${{service}}.enable) [ "fireactions" "fireteact" ];
          each = f: builtins.mapAttrs (_: builtins.mapAttrs (_: f)) nodes;
        in "#
    );
    let found = eval(&flake(
        &tree,
        &format!(
            "{look} each (node: {{ mistakes = mistakes {{ config = node; }}; services = services node; etc = node.system.build.etc.drvPath; }})"
        ),
    ));
    for name in &names {
        let nodes = found[name].as_object().unwrap();
        assert!(nodes.values().all(|node| node["mistakes"] == json!([])), "{name}: {found}");
        assert!(nodes.values().any(|node| node["services"] != json!([])), "{name}: {found}");
    }
    let configurations = format!(
        r#"{look} map (nodes: map (node: map (service: node.environment.etc."${{service}}/config.yaml".source) (services node)) (builtins.attrValues nodes)) (builtins.attrValues nodes)"#
    );
    try_build(&flake(&tree, &configurations)).unwrap_or_else(|said| panic!("{said}"));
}
