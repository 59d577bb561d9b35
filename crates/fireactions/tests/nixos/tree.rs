//! The modules with the real option types: where `NIXPKGS_TREE` names a nixpkgs, or the parts of one that evaluation needs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use fireactions_testkit::skip::{self, Kind};
use serde_json::{Value, json};

use crate::nix::{eval, repository, try_build, try_eval};
use crate::unit::{exposure, verify};

/// The tree; none where the test does not run.
fn tree(test: &str) -> Option<String> {
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
fn of(tree: &str, modules: &str, expression: &str) -> String {
    let binary = env!("CARGO_BIN_EXE_fireactions");
    format!(
        "with import ./tests/nix/eval.nix {{ tree = {tree}; binary = \"{binary}\"; modules = [ {MODULES} {modules} ]; }}; {expression}"
    )
}

/// `expression` over the flake's outputs.
fn flake(tree: &str, expression: &str) -> String {
    let (binary, disko, sops) =
        (env!("CARGO_BIN_EXE_fireactions"), path_or_null("DISKO_TREE"), path_or_null("SOPS_NIX_TREE"));
    format!(
        "with import ./tests/nix/inputs.nix {{ tree = {tree}; binary = \"{binary}\"; disko = {disko}; sops = {sops}; }}; {expression}"
    )
}

fn cases(dir: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(repository().join("tests/nix").join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

/// Builds a service's configuration, which the server judges there, and its unit, which the service manager judges.
fn whole(tree: &str, modules: &str, service: &str) -> (Value, String) {
    let etc = format!("config.environment.etc.\"{service}/config.yaml\".source");
    let built = try_build(&of(tree, modules, &etc)).unwrap_or_else(|said| panic!("{modules}: {said}"));
    let config: Value = serde_json::from_str(&fs::read_to_string(built).unwrap()).unwrap();
    // The unit's programs are there once it is built.
    let unit = format!("(config.systemd.units.\"{service}.service\".unit)");
    let built = try_build(&of(tree, modules, &unit)).unwrap_or_else(|said| panic!("{modules}: {said}"));
    let text = fs::read_to_string(built.join(format!("{service}.service"))).unwrap();
    verify(service, &here(&text)).unwrap_or_else(|said| panic!("{modules}: {said}\n{text}"));
    (config, text)
}

/// With this host's programs where a stand-in of nixpkgs has none.
fn here(unit: &str) -> String {
    let line = |line: &str| {
        let program = line.split_once('=').map_or("", |(_, value)| value.split(' ').next().unwrap_or(""));
        let lacks = ["/bin/kill", "/bin/nft"].iter().any(|name| program.ends_with(name))
            && !Path::new(program).exists();
        if lacks { line.replace(program, "/bin/sh") + "\n" } else { format!("{line}\n") }
    };
    unit.lines().map(line).collect()
}

#[test]
fn the_page_s_snippets_work_as_printed() {
    let Some(tree) = tree("the_page_s_snippets_work_as_printed") else { return };
    let page =
        |names: &[&str]| names.iter().map(|name| format!("./tests/nix/page/{name}.nix ")).collect::<String>();
    for (names, services) in [
        (&["github"][..], &["fireactions"][..]),
        (&["github", "options"], &["fireactions"]),
        (&["gitea"], &["fireteact"]),
        (&["github", "registry-cache"], &["fireactions"]),
        (&["github", "gitea", "registry-cache"], &["fireactions", "fireteact"]),
    ] {
        let modules = page(names);
        assert_eq!(eval(&of(&tree, &modules, "failed")), json!([]), "{names:?}");
        let warnings = eval(&of(&tree, &modules, "warnings"));
        // A host's network has one server.
        let expected = services.len() - 1;
        assert_eq!(warnings.as_array().unwrap().len(), expected, "{names:?}: {warnings}");
        for service in services {
            let (config, unit) = whole(&tree, &modules, service);
            assert_eq!(config["pools"][0]["name"], "default");
            assert!(exposure(&unit.replace(service, "fireactions")) <= 4.0, "{unit}");
        }
    }
    // The page's own profile names no organization: the option for all pools, or a warning.
    let gpu = format!(
        "{} {{ services.fireactions = {{ enable = true; github = {{ appId = 1; appPrivateKeyFile = \"/run/k\"; organization = \"acme\"; }}; }}; }}",
        page(&["gpu"])
    );
    assert_eq!(eval(&of(&tree, &gpu, "failed ++ warnings")), json!([]));
    assert_eq!(whole(&tree, &gpu, "fireactions").0["pools"][0]["runner"]["organization"], "acme");
}

#[test]
fn each_mistake_is_refused_with_its_words() {
    let Some(tree) = tree("each_mistake_is_refused_with_its_words") else { return };
    let cases = cases("wrong");
    assert!(cases.len() >= 25, "{cases:?}");
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        let (kind, words) = text.lines().next().unwrap().trim_start_matches("# ").split_once(": ").unwrap();
        let module = case.display().to_string();
        let said = match kind {
            "says" => {
                let failed: Vec<String> =
                    serde_json::from_value(eval(&of(&tree, &module, "failed"))).unwrap();
                assert_eq!(failed.len(), 1, "{module}: {failed:#?}");
                failed[0].clone()
            }
            "throws" => try_eval(&of(
                &tree,
                &module,
                "config.environment.etc.\"fireactions/config.yaml\".source.drvPath",
            ))
            .unwrap_err(),
            "builds" => {
                try_build(&of(&tree, &module, "config.environment.etc.\"fireactions/config.yaml\".source"))
                    .unwrap_err()
            }
            other => panic!("{module}: {other}"),
        };
        for part in words.split(" / ") {
            assert!(said.contains(part), "{module}: '{part}' is not in: {said}");
        }
    }
}

#[test]
fn what_is_right_evaluates_and_builds() {
    let Some(tree) = tree("what_is_right_evaluates_and_builds") else { return };
    for case in cases("right") {
        let module = case.display().to_string();
        assert_eq!(eval(&of(&tree, &module, "failed")), json!([]), "{module}");
        // What several modules say of one setting of the kernel does not conflict.
        try_build(&of(&tree, &module, "config.environment.etc.\"sysctl.d/60-nixos.conf\".source"))
            .unwrap_or_else(|said| panic!("{module}: {said}"));
        let name = case.file_stem().unwrap().to_str().unwrap();
        match name {
            "old-options" => {
                let warnings = eval(&of(&tree, &module, "warnings")).to_string();
                for old in [
                    "networking.externalInterface",
                    "debug.sshKeyFile",
                    "basicAuth.users",
                    "gitea.apiToken",
                    "blockVmToVm",
                    "credentials",
                    "containerd",
                ] {
                    assert!(warnings.contains(old), "{old}: {warnings}");
                }
                whole(&tree, &module, "fireactions");
                assert_eq!(whole(&tree, &module, "fireteact").0["log_level"], "debug");
            }
            "everything" => everything(&tree, &module),
            "beside-networkd" => {
                let (config, unit) = whole(&tree, &module, "fireteact");
                assert_eq!(config["forgejo"]["url"], "@gitea-instance-url@");
                assert!(unit.contains("fill-in.sh /etc/fireteact/config.yaml /run/fireteact/config.yaml gitea-instance-url gitea-runner-owner"), "{unit}");
                assert!(!unit.contains("MemoryDenyWriteExecute"), "QEMU generates code: {unit}");
            }
            "beside-docker-and-nftables" => {
                whole(&tree, &module, "fireactions");
                let tables =
                    eval(&of(&tree, &module, "builtins.attrNames config.networking.nftables.tables"));
                for table in ["fireactions_limits", "registry_cache_nat"] {
                    assert!(tables.as_array().unwrap().contains(&json!(table)), "{tables}");
                }
                let unmanaged = eval(&of(&tree, &module, "config.networking.networkmanager.unmanaged"));
                assert!(
                    unmanaged.as_array().unwrap().contains(&json!("interface-name:fireactions0")),
                    "{unmanaged}"
                );
                let docker = eval(&of(&tree, &module, "unit \"fireactions-docker\""));
                assert!(docker.as_str().unwrap().contains("PartOf=docker.service"), "{docker}");
                let ports = eval(&of(
                    &tree,
                    &module,
                    "config.networking.firewall.interfaces.fireactions0.allowedTCPPorts",
                ));
                assert_eq!(ports, json!([5000, 3128, 3129, 5000, 3128, 3129]));
            }
            "own-file" => {
                let unit = eval(&of(&tree, &module, "unit \"fireactions\""));
                assert!(!unit.as_str().unwrap().contains("LoadCredential"), "{unit}");
                assert_eq!(
                    eval(&of(&tree, &module, "config.environment.etc.\"fireactions/config.yaml\".source")),
                    "/etc/mine.yaml"
                );
            }
            other => panic!("what should hold of {other}?"),
        }
    }
}

fn everything(tree: &str, module: &str) {
    let (config, unit) = whole(tree, module, "fireactions");
    assert_eq!(config["github"]["webhook"]["secret_file"], "credential:github-webhook");
    assert_eq!(
        config["pools"][0]["firecracker"]["machine_config"],
        json!({"vcpu_count": 4, "mem_size_mib": 4096})
    );
    assert_eq!(
        (&config["pools"][0]["runner"]["organization"], &config["pools"][1]["runner"]["organization"]),
        (&json!("acme"), &json!("other"))
    );
    assert_eq!(config["pools"][0]["network"]["host_ports"], json!(["tcp/5000", "tcp/3128", "tcp/8081"]));
    assert_eq!(
        (&config["network"]["dns"], &config["kernel"]["args"]),
        (&json!(["9.9.9.9"]), &json!("panic=1"))
    );
    assert!(config["kernel"]["modules"].as_str().unwrap().contains("/lib/modules/"));
    for line in [
        "User=ci",
        "LoadCredential=github-webhook:/run/secrets/webhook",
        "LoadCredential=api-token:/run/secrets/api-token",
        "ReadWritePaths=/srv/ci",
    ] {
        assert!(unit.lines().any(|has| has == line), "{line}\n{unit}");
    }
    assert!(
        unit.contains("AmbientCapabilities=")
            && !unit.contains("make-token.sh")
            && !unit.contains("StateDirectory=f"),
        "{unit}"
    );
    let has = |expression: &str| eval(&of(tree, module, expression));
    assert_eq!(has("config.networking.firewall.allowedTCPPorts"), json!([9000, 9001]));
    assert_eq!(has("config.boot.kernel.sysctl.\"kernel.kptr_restrict\""), 2);
    assert!(has("config.boot.kernelParams").as_array().unwrap().contains(&json!("nosmt=force")));
    assert_eq!(has("config.fileSystems.\"/run/microvm-base/secrets\".fsType"), "tmpfs");
    assert!(has("unit \"fireactions-state\"").as_str().unwrap().contains(
        "scratch.sh start /var/lib/microvm-base/fireactions.img fireactions-state /srv/ci 10G zero"
    ));
    assert!(has("unit \"microvm-base-discard\"").as_str().unwrap().contains("Type=oneshot"));
    assert!(has("unit \"microvm-base-verify-smt\"").as_str().unwrap().contains("SMT is off"));
    assert!(has("unit \"fireactions-limits\"").as_str().unwrap().contains("nft -f"));
    for service in [
        "zot",
        "registry-cache-squid",
        "fireactions-state",
        "microvm-base-discard",
        "fireactions-limits",
        "registry-cache-redirect",
    ] {
        let built = try_build(&of(tree, module, &format!("config.systemd.units.\"{service}.service\".unit")))
            .unwrap();
        let text = fs::read_to_string(built.join(format!("{service}.service"))).unwrap();
        verify(service, &here(&text)).unwrap_or_else(|said| panic!("{said}\n{text}"));
    }
}

#[test]
fn both_services_have_nothing_in_common() {
    let Some(tree) = tree("both_services_have_nothing_in_common") else { return };
    let modules = "./tests/nix/page/github.nix ./tests/nix/page/gitea.nix";
    let (one, one_unit) = whole(&tree, modules, "fireactions");
    let (other, other_unit) = whole(&tree, modules, "fireteact");
    for path in [
        "/bind_address",
        "/api_socket",
        "/api_token_file",
        "/state_dir",
        "/metrics/address",
        "/network/bridge",
        "/network/subnet",
        "/vmm/cgroup_parent",
        "/vmm/uid_base",
    ] {
        assert_ne!(one.pointer(path).unwrap(), other.pointer(path).unwrap(), "{path}");
    }
    for (unit, name) in [(one_unit, "fireactions"), (other_unit, "fireteact")] {
        assert!(
            unit.contains(&format!("StateDirectory={name}\n"))
                && unit.contains(&format!("RuntimeDirectory={name}\n")),
            "{unit}"
        );
    }
}

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
    for tags in sets {
        let list = tags.iter().map(|tag| format!("\"{tag}\" ")).collect::<String>();
        let has_runners = tags.iter().any(|tag| tag.ends_with("runners"));
        let own = "{ services.fireactions.github.organization = \"acme\"; }";
        let modules = format!(
            "{own} (map (x: x) {{ imports = (import ./profiles {{ }}).getProfilesForTags [ {list} ]; }})"
        )
        .replace("(map (x: x) {", "({")
        .to_owned();
        let failed: Vec<String> = serde_json::from_value(eval(&of(&tree, &modules, "failed"))).unwrap();
        let has_pools = tags.iter().any(|tag| ["small", "medium", "large"].contains(tag));
        // Runners without a size's profile have no pools, which is told; a cache alone has no network.
        let alone = (has_runners && !has_pools) || tags == ["registry-cache"];
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

#[test]
fn a_newcomer_s_machine_builds_whole() {
    let Some(tree) = tree("a_newcomer_s_machine_builds_whole") else { return };
    let modules =
        "./tests/nix/page/github.nix ./tests/nix/page/gitea.nix ./tests/nix/page/registry-cache.nix";
    let built = try_build(&of(&tree, modules, "config.system.build.toplevel"))
        .unwrap_or_else(|said| panic!("{said}"));
    for file in [
        "etc/systemd/system/fireactions.service",
        "etc/systemd/system/fireteact.service",
        "etc/systemd/system/zot.service",
        "etc/fireactions/config.yaml",
        "etc/fireteact/config.yaml",
    ] {
        assert!(built.join(file).exists(), "{file} is not in {}", built.display());
    }
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
        json!(["default", "fireactions", "fireactions-node", "fireteact", "microvm-base", "registry-cache"])
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
    let host = |expression: &str| {
        eval(&flake(
            &tree,
            &format!(
                "let system = host {{ name = \"runner-1\"; directory = ./examples/fleet; host = (builtins.fromJSON (builtins.readFile ./examples/fleet/registry.json)).runner-1; }}; in {expression}"
            ),
        ))
    };
    assert_eq!(host("mistakes system"), json!([]));
    // prod says warn, the host's own file says info.
    assert_eq!(host("system.config.services.fireactions.logLevel"), "info");
    assert_eq!(host("system.config.services.fireteact.logLevel"), "warn");
    assert_eq!(
        host(
            "map (pool: [ pool.maxRunners pool.firecracker.memSizeMib ]) system.config.services.fireactions.pools"
        ),
        json!([[10, 4096]])
    );
    assert_eq!(host("system.config.networking.hostName"), "runner-1");
    assert_eq!(host("system.config.services.registry-cache.enable"), true);
    assert_eq!(
        host("map (name: name) (builtins.attrNames system.config.sops.secrets)"),
        json!(["github-app-id", "github-app-key"])
    );
    assert_eq!(
        host("system.config.systemd.services.fireactions.serviceConfig.LoadCredential"),
        json!(["github-app-key:/run/secrets/github-app-key", "github-app-id:/run/secrets/github-app-id"])
    );
    assert_eq!(host("system.config.services.openssh.settings.PermitRootLogin"), "prohibit-password");

    let other = flake(
        &tree,
        "let system = host { name = \"runner-2\"; host = (builtins.fromJSON (builtins.readFile ./examples/fleet/registry.json)).runner-2; }; in [ (mistakes system) system.config.nixpkgs.hostPlatform.system system.config.services.fireteact.enable ]",
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

#[test]
fn defaults_of_tests_are_the_module_s() {
    let Some(tree) = tree("defaults_of_tests_are_the_module_s") else { return };
    for service in ["fireactions", "fireteact"] {
        let ours = eval(&format!("(import ./tests/nix/pure.nix).cfg \"{service}\" {{ pools = [ {{ }} ]; }}"));
        let given = format!("{{ services.{service}.pools = [ {{ }} ]; }}");
        // `settings` have every key, without a value.
        let strip = "let strip = value: if builtins.isAttrs value then builtins.mapAttrs (name: inner: if name == \"settings\" then { } else strip inner) value else if builtins.isList value then map strip value else value;";
        let real = eval(&of(
            &tree,
            &given,
            &format!(
                "{strip} ours = (import ./tests/nix/pure.nix).cfg \"{service}\" {{ pools = [ {{ }} ]; }}; in builtins.mapAttrs (name: like: let it = config.services.{service}.${{name}}; in strip (if name == \"security\" then {{ inherit (it) network; }} else if name == \"debug\" then {{ inherit (it) enable; }} else it)) ours"
            ),
        ));
        let mut real = real;
        // A second name of the same.
        for pool in real["pools"].as_array_mut().unwrap() {
            pool.as_object_mut().unwrap().remove("machine");
        }
        assert_eq!(real, ours, "{service}");
    }
}

#[test]
fn another_lib_s_types_say_the_same() {
    let Some(tree) = tree("another_lib_s_types_say_the_same") else { return };
    // Today's, where it is named.
    let lib = env::var("NIXPKGS_LIB").unwrap_or_else(|_| format!("{tree}/lib"));
    let of = |file: &str| {
        format!(
            "let lib = import {lib}; in import ./tests/nix/types.nix {{ inherit lib; pkgs = import {tree} {{ system = \"x86_64-linux\"; \
             overlays = [ (import ./tests/nix/overlay.nix {{ binary = \"/binary\"; }}) ]; }}; modules = [ ./tests/nix/{file}.nix ]; }}"
        )
    };
    for (file, service) in [
        ("page/github", "fireactions"),
        ("page/gitea", "fireteact"),
        ("right/everything", "fireactions"),
        ("right/beside-networkd", "fireteact"),
    ] {
        let said = eval(&of(file));
        assert_eq!(said["failed"], json!([]), "{file}");
        assert!(said["rendered"][service]["pools"][0]["name"].is_string(), "{file}: {said}");
    }
    let said = try_eval(&of("wrong/setting-out-of-range")).unwrap_err();
    assert!(said.contains("services.fireactions.settings.vmm.console_max_kib"), "{said}");
}

#[test]
fn the_options_page_is_up_to_date() {
    let Some(tree) = tree("the_options_page_is_up_to_date") else { return };
    let binary = env!("CARGO_BIN_EXE_fireactions");
    let page =
        eval(&format!("import ./tests/nix/options-doc.nix {{ tree = {tree}; binary = \"{binary}\"; }}"));
    let file = repository().join("docs/reference/nixos.md");
    if env::var_os("FIREACTIONS_WRITE_OPTIONS").is_some() {
        fs::write(&file, page.as_str().unwrap()).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page.as_str().unwrap(),
        "docs/reference/nixos.md is not what the options say: run scripts/doc-nixos"
    );
}
