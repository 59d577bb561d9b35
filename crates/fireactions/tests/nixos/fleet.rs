//! The flake, its examples, profiles and hosts, with the real option types.

use std::path::Path;

use fireactions_testkit::skip::{self, Kind};
use serde_json::json;

use crate::nix::{command, eval, repository, try_build, try_eval};
use crate::tree::{failed, flake, of, tree};

#[test]
fn each_profile_and_what_is_used_together() {
    let Some(tree) = tree("each_profile_and_what_is_used_together") else { return };
    let all: Vec<String> = serde_json::from_value(eval("(import ./profiles { }).availableProfiles")).unwrap();
    let mut sets: Vec<Vec<&str>> = all.iter().map(|tag| vec![tag.as_str()]).collect();
    for size in ["small", "medium", "large"] {
        for (place, runners) in [("prod", "runners"), ("prod", "github-runners"), ("dev", "gitea-runners")] {
            sets.push(vec![place, runners, size]);
        }
    }
    sets.push(
        all.iter()
            .filter(|tag| !["dev", "medium", "large"].contains(&tag.as_str()))
            .map(String::as_str)
            .collect(),
    );
    let modules: Vec<String> = sets
        .iter()
        .map(|tags| {
            let list = format!("\"{}\"", tags.join("\" \""));
            format!("{{ services.fireactions.github.organization = \"acme\"; services.fireactions-queue.hosts = [ \"ci-1\" ]; imports = (import ./profiles {{ }}).getProfilesForTags [ {list} ]; }}")
        })
        .collect();
    for (tags, failed) in sets.iter().zip(failed(&tree, &modules)) {
        let has = |wanted: &[&str]| tags.iter().any(|tag| wanted.contains(tag));
        let has_runners = has(&["runners", "github-runners", "gitea-runners"]);
        // Runners without a size's profile have no pools, which is told; a cache alone has no network.
        let alone = (has_runners && !has(&["small", "medium", "large"])) || *tags == ["registry-cache"];
        assert_eq!(failed.is_empty(), !alone, "{tags:?}: {failed:#?}");
    }
    // The page's own: of two profiles with pools the later in the alphabet counts.
    let pools = |list: &str, more: &str| {
        let modules = format!(
            "{{ services.fireactions.github.organization = \"acme\"; }} {{ imports = (import ./profiles {{ }}).getProfilesForTags [ {list} ]; }} {more}"
        );
        eval(&of(
            &tree,
            &modules,
            "map (pool: [ pool.name pool.maxRunners ]) config.services.fireactions.pools",
        ))
    };
    assert_eq!(pools("\"runners\" \"large\"", "./tests/nix/page/gpu.nix"), json!([["default", 10]]));
    assert_eq!(pools("\"runners\"", "./tests/nix/page/gpu.nix"), json!([["gpu", 2]]));
    assert_eq!(pools("\"runners\" \"large\" \"small\"", ""), json!([["default", 2]]));
    assert_eq!(
        pools("\"runners\" \"large\"", "{ services.fireactions.pools = [ { name = \"own\"; } ]; }"),
        json!([["own", 10]])
    );
}

#[test]
fn examples_evaluate_as_flakes() {
    let Some(tree) = tree("examples_evaluate_as_flakes") else { return };
    for (example, system) in [
        ("minimal-github", "github-runner"),
        ("minimal-gitea", "gitea-runner"),
        ("registry-cache", "runner"),
        ("custom-profile", "gpu-runner"),
        ("cluster", "ci-1"),
    ] {
        // What a newcomer's host would still lack: disks and a boot loader.
        let of = |expression: &str| {
            flake(
                &tree,
                &format!(
                    "let system = ((example ./examples/{example}).nixosConfigurations.{system}).extendModules {{ modules = [ ./tests/nix/base.nix ({{ lib, ... }}: {{ system.stateVersion = lib.mkForce \"24.11\"; }}) ]; }}; in {expression}"
                ),
            )
        };
        assert_eq!(eval(&of("mistakes system")), json!([]), "{example}");
        let service = if example == "minimal-gitea" { "fireteact" } else { "fireactions" };
        let exec = eval(&of(&format!("system.config.systemd.services.{service}.serviceConfig.ExecStart")));
        let program = exec.as_str().unwrap().split_whitespace().next().unwrap().to_owned();
        try_build(&of(&format!("system.config.environment.etc.\"{service}/config.yaml\".source")))
            .unwrap_or_else(|said| panic!("{example}: {said}"));
        assert!(Path::new(&program).exists() && program.ends_with("/bin/fireactions"), "{program}");
        try_build(&of("system.config.system.build.etc")).unwrap_or_else(|said| panic!("{example}: {said}"));
    }
}

/// The host of an example that runs no server.
/// Colmena itself, where it is named.
#[test]
fn colmena_takes_the_fleet() {
    let Some(tree) = tree("colmena_takes_the_fleet") else { return };
    let Ok(colmena) = std::env::var("COLMENA") else {
        skip::say(Kind::Nixpkgs, "colmena_takes_the_fleet", "COLMENA names no Colmena (docs/testing.md)");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let hive = repository().join("tests/nix/hive.nix");
    let binary = env!("CARGO_BIN_EXE_fireactions");
    let text = format!("import {} {{ tree = {tree}; binary = \"{binary}\"; }}", hive.display());
    std::fs::write(dir.path().join("hive.nix"), text).unwrap();
    let asked = "{ nodes, lib, ... }: lib.mapAttrs (_: node: [ node.config.deployment.tags node.config.services.fireactions.logLevel ]) nodes";
    let output = command(&colmena)
        .args(["eval", "-f"])
        .arg(dir.path().join("hive.nix"))
        .args(["-E", asked])
        .output()
        .unwrap();
    let nodes: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(nodes["runner-1"], json!([["prod", "runners", "large", "registry-cache"], "info"]));
    assert_eq!(nodes["runner-2"], json!([["dev", "gitea-runners", "small"], "debug"]));
    assert_eq!(nodes["runner-3"], json!([["prod", "runners", "small"], "warn"]));
}

#[test]
fn the_cluster_s_nats_evaluates_as_a_flake() {
    let Some(tree) = tree("the_cluster_s_nats_evaluates_as_a_flake") else { return };
    let system = "((example ./examples/cluster).nixosConfigurations.nats-1).extendModules { modules = [ ./tests/nix/base.nix ({ lib, ... }: { system.stateVersion = lib.mkForce \"24.11\"; }) ]; }";
    let of = |expression: &str| flake(&tree, &format!("let system = {system}; in {expression}"));
    assert_eq!(eval(&of("mistakes system")), json!([]));
    assert_eq!(
        eval(&of("system.config.systemd.services.nats.serviceConfig.LoadCredential")),
        json!(["tls.key:/run/secrets/nats-key"])
    );
    assert_eq!(eval(&of("system.config.systemd.services ? fireactions")), json!(false));
}

#[test]
fn the_flake_has_the_page_s_outputs() {
    let Some(tree) = tree("the_flake_has_the_page_s_outputs") else { return };
    let names = |attribute: &str| eval(&flake(&tree, &format!("builtins.attrNames outputs.{attribute}")));
    let packages = names("packages.x86_64-linux");
    for name in [
        "fireactions",
        "fireteact",
        "fireactions-agent",
        "firecracker-kernel",
        "firecracker-kernel-custom",
        "tc-redirect-tap",
        "zot",
        "default",
    ] {
        assert!(packages.as_array().unwrap().contains(&json!(name)), "{name}: {packages}");
    }
    assert_eq!(names("packages.aarch64-linux"), packages);
    assert_eq!(
        names("nixosModules"),
        json!([
            "default",
            "fireactions",
            "fireactions-node",
            "fireglab",
            "fireteact",
            "microvm-base",
            "queue",
            "registry-cache"
        ])
    );
    assert_eq!(
        names("nixosConfigurations"),
        json!([
            "fireactions-node",
            "fireactions-node-arm",
            "fireactions-node-arm-nvme",
            "fireactions-node-arm-vda",
            "fireactions-node-do",
            "fireactions-node-nvme",
            "fireactions-node-vda"
        ])
    );
    for system in ["x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin"] {
        assert!(names("devShells").as_array().unwrap().contains(&json!(system)));
        assert!(names("formatter").as_array().unwrap().contains(&json!(system)));
    }
    assert_eq!(names("overlays"), json!(["default"]));
    assert_eq!(names("lib"), json!(["availableProfiles", "getProfilesForTags", "mkPool", "sizes"]));
    for system in ["x86_64-linux", "aarch64-linux"] {
        assert_eq!(names(&format!("apps.{system}")), json!(["default", "deploy", "fireactions"]));
        assert!(names(&format!("checks.{system}")).as_array().unwrap().contains(&json!("fireactions")));
    }
    // Each of them is something: a package with its sources, a shell, a program.
    for system in ["x86_64-linux", "aarch64-linux"] {
        let found = eval(&flake(
            &tree,
            &format!(
                "let image = name: builtins.match \"image-.*\" name != null;
                     packages = removeAttrs outputs.packages.{system} (builtins.filter image (builtins.attrNames outputs.packages.{system}));
                 in [ (map (package: package.drvPath) (builtins.attrValues packages)) outputs.devShells.{system}.default.drvPath
                      outputs.apps.{system}.deploy.program outputs.formatter.{system}.drvPath
                      (map (file: builtins.pathExists (packages.fireactions.src + file)) [ \"/Cargo.lock\" \"/crates\" \"/scripts/check-prerequisites.sh\" \"/docs/nixos.md\" ]) ]"
            ),
        ));
        assert_eq!(found[4], json!([true, true, true, false]), "{found}");
    }
    // Every system that is installed evaluates, whole.
    for name in names("nixosConfigurations").as_array().unwrap() {
        let name = name.as_str().unwrap();
        assert_eq!(
            eval(&flake(&tree, &format!("mistakes outputs.nixosConfigurations.{name}"))),
            json!([]),
            "{name}"
        );
    }
}

#[test]
fn hosts_have_base_then_tags_then_their_own_file() {
    let Some(tree) = tree("hosts_have_base_then_tags_then_their_own_file") else { return };
    let host = eval(&flake(
        &tree,
        "let hosts = builtins.fromJSON (builtins.readFile ./examples/fleet/registry.json);
             system = host { name = \"runner-1\"; directory = ./examples/fleet; host = hosts.runner-1; };
             inherit (system) config;
         in {
           mistakes = mistakes system;
           name = config.networking.hostName;
           github = config.services.fireactions.logLevel;
           gitea = config.services.fireteact.logLevel;
           pools = map (pool: [ pool.maxRunners pool.firecracker.memSizeMib ]) config.services.fireactions.pools;
           cache = config.services.registry-cache.enable;
           secrets = builtins.attrNames config.sops.secrets;
           credentials = config.systemd.services.fireactions.serviceConfig.LoadCredential;
           root = config.services.openssh.settings.PermitRootLogin;
         }",
    ));
    assert_eq!(
        host,
        json!({
            "mistakes": [],
            "name": "runner-1",
            // prod says warn, the host's own file says info.
            "github": "info",
            "gitea": "warn",
            "pools": [[10, 4096]],
            "cache": true,
            "secrets": ["github-app-id", "github-app-key"],
            "credentials": ["github-app-key:/run/secrets/github-app-key", "github-app-id:/run/secrets/github-app-id"],
            "root": "prohibit-password",
        })
    );

    let other = flake(
        &tree,
        "let system = host { name = \"runner-2\"; host = (builtins.fromJSON (builtins.readFile ./examples/fleet/registry.json)).runner-2; }; in [ (mistakes system) system.pkgs.stdenv.hostPlatform.system system.config.services.fireteact.enable ]",
    );
    assert_eq!(eval(&other), json!([[], "aarch64-linux", true]));
    let wrong = flake(&tree, "(host { host.tags = [ \"runer\" ]; }).config.networking.hostName");
    let said = try_eval(&wrong).unwrap_err();
    assert!(
        said.contains("there is no profile 'runer'") && said.contains("did you mean 'runners'?"),
        "{said}"
    );
    // The project's own hive, which has no hosts yet.
    assert_eq!(eval(&flake(&tree, "builtins.attrNames outputs.colmenaHive")), json!(["meta"]));
}
