//! The modules, with the real option types.

use std::{env, fs};

use serde_json::json;

use crate::nix::{eval, repository, try_build, try_eval};
use crate::tree::{cases, failed, here, of, tree, whole};
use crate::unit::{exposure, verify};

#[test]
fn the_page_s_snippets_work_as_printed() {
    let Some(tree) = tree("the_page_s_snippets_work_as_printed") else { return };
    let page = |names: &[&str]| format!("./tests/nix/page/{}.nix", names.join(".nix ./tests/nix/page/"));
    for (names, services) in [
        (&["github"][..], &["fireactions"][..]),
        (&["github", "options"], &["fireactions"]),
        (&["gitea"], &["fireteact"]),
        (&["github", "registry-cache"], &["fireactions"]),
        (&["github", "gitea", "registry-cache"], &["fireactions", "fireteact"]),
    ] {
        let modules = page(names);
        assert_eq!(eval(&of(&tree, &modules, "failed ++ warnings")), json!([]), "{names:?}");
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
    let of_kind = |wanted: &str| -> Vec<(String, String)> {
        let all = cases.iter().map(|case| {
            let text = fs::read_to_string(case).unwrap();
            let (kind, words) =
                text.lines().next().unwrap().trim_start_matches("# ").split_once(": ").unwrap();
            (kind.to_owned(), case.display().to_string(), words.to_owned())
        });
        all.filter(|(kind, ..)| kind == wanted).map(|(_, module, words)| (module, words)).collect()
    };
    let check = |module: &str, words: &str, said: &str| {
        for part in words.split(" / ") {
            assert!(said.contains(part), "{module}: '{part}' is not in: {said}");
        }
    };
    let (says, throws, builds) = (of_kind("says"), of_kind("throws"), of_kind("builds"));
    assert_eq!(says.len() + throws.len() + builds.len(), cases.len());
    let modules: Vec<String> = says.iter().map(|(module, _)| module.clone()).collect();
    for ((module, words), failed) in says.iter().zip(failed(&tree, &modules)) {
        assert_eq!(failed.len(), 1, "{module}: {failed:#?}");
        check(module, words, &failed[0]);
    }
    let file = "config.environment.etc.\"fireactions/config.yaml\".source";
    for (module, words) in throws {
        check(&module, &words, &try_eval(&of(&tree, &module, &format!("{file}.drvPath"))).unwrap_err());
    }
    for (module, words) in builds {
        check(&module, &words, &try_build(&of(&tree, &module, file)).unwrap_err());
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
                // Commands check what the server reads, and have its tools.
                let variable = "config.environment.variables.FIREACTIONS_CONFIG";
                assert_eq!(eval(&of(&tree, &module, variable)), "/run/fireteact/config.yaml");
                let names = "map (package: package.name) config.environment.systemPackages";
                let names = eval(&of(&tree, &module, names)).to_string();
                assert!(names.contains("squashfs-tools-ng"), "{names}");
                assert!(!unit.contains("MemoryDenyWriteExecute"), "QEMU generates code: {unit}");
            }
            "beside-docker-and-nftables" => {
                whole(&tree, &module, "fireactions");
                let tables =
                    eval(&of(&tree, &module, "builtins.attrNames config.networking.nftables.tables"));
                for table in ["fireactions_limits", "registry_cache_nat"] {
                    assert!(tables.as_array().unwrap().contains(&json!(table)), "{tables}");
                }
                // The firewall's package is nftables here, which has no `iptables`.
                let path = "map (package: package.name) config.systemd.services.fireactions-docker.path";
                let path = eval(&of(&tree, &module, path)).to_string();
                assert!(path.contains("iptables") && !path.contains("nftables"), "{path}");
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
                assert_eq!(ports, json!([3128, 3129, 5000, 5080]));
            }
            "settings-alone" => settings_alone(&tree, &module),
            "cluster" => cluster(&tree, &module),
            "own-file" => {
                let unit = eval(&of(&tree, &module, "unit \"fireactions\""));
                let credentials: Vec<&str> = unit
                    .as_str()
                    .unwrap()
                    .lines()
                    .filter(|line| line.starts_with("LoadCredential"))
                    .collect();
                assert_eq!(credentials, ["LoadCredential=mine:/run/secrets/mine"]);
                let variable = "config.environment.variables.FIREACTIONS_CONFIG";
                assert_eq!(eval(&of(&tree, &module, variable)), "/etc/fireactions/config.yaml");
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
    let cache = &config["registry_cache"];
    assert_eq!(
        (&cache["enabled"], &cache["program"], &cache["port"]),
        (&json!(true), &json!("zot"), &json!(5000))
    );
    assert_eq!(cache["mirrors"]["registry.example.com"], json!({}));
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
    let socket = has("config.systemd.units.\"fireactions.socket\".text");
    let socket = socket.as_str().unwrap();
    assert!(
        socket.contains("ListenStream=/run/fireactions/api.sock\n") && socket.contains("SocketGroup=ci\n"),
        "{socket}"
    );
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

/// What `settings` say wins in the server, and the unit, the firewall and the rest of the host follow.
fn settings_alone(tree: &str, module: &str) {
    let (config, unit) = whole(tree, module, "fireactions");
    assert_eq!((&config["state_dir"], &config["network"]["bridge"]), (&json!("/srv/ci"), &json!("ci0")));
    assert_eq!(config["api_token_file"], "/srv/ci/api-token");
    assert!(unit.contains("make-token.sh /srv/ci/api-token") && !unit.contains("StateDirectory=f"), "{unit}");
    let has = |expression: &str| eval(&of(tree, module, expression));
    for directory in ["/srv/ci", "/srv/actions-cache"] {
        assert!(
            unit.lines().any(|line| line == format!("ReadWritePaths={directory}")),
            "{directory}: {unit}"
        );
        let rules = has("config.systemd.tmpfiles.rules");
        let rule = json!(format!("d {directory} 0700 root root -"));
        assert!(rules.as_array().unwrap().contains(&rule), "{rules}");
    }
    assert_eq!(has("config.networking.firewall.interfaces.ci0.allowedTCPPorts"), json!([5080]));
    assert_eq!(
        has("config.services.microvm-base.bridges.fireactions"),
        json!({"bridgeName": "ci0", "externalInterface": null, "subnet": "10.77.0.0/20"})
    );
    assert_eq!(
        has("config.networking.networkmanager.unmanaged"),
        json!(["interface-name:ci0", "interface-name:fam*"])
    );
    assert_eq!(has("config.networking.firewall.allowedTCPPorts"), json!([9000]));
}

/// A cluster's secrets are credentials of those that read them, and commands find the socket where it was put.
fn cluster(tree: &str, module: &str) {
    let (config, unit) = whole(tree, module, "fireactions");
    let cluster = json!({
        "name": "ci",
        "host": {"name": "ci-1", "zone": "z", "labels": ["gpu"]},
        "nats": {
            "urls": ["tls://nats.example.com:4222"],
            "tls": {"ca_file": "/etc/ci/ca.pem", "cert_file": "/etc/ci/ci-1.pem", "key_file": "credential:nats-key"},
        },
    });
    assert_eq!(config["cluster"], cluster);
    assert_eq!(config["api_socket"], "/run/ci/api.sock");
    for line in ["LoadCredential=nats-key:/run/secrets/ci-1.key", "ReadWritePaths=/run/ci"] {
        assert!(unit.lines().any(|has| has == line), "{line}: {unit}");
    }
    let has = |expression: &str| eval(&of(tree, module, expression));
    assert_eq!(has("config.environment.variables.FIREACTIONS_SOCKET"), "/run/ci/api.sock");
    let rules = has("config.systemd.tmpfiles.rules");
    assert!(rules.as_array().unwrap().contains(&json!("d /run/ci 0755 root root -")), "{rules}");

    let built = try_build(&of(tree, module, "config.systemd.units.\"nats.service\".unit")).unwrap();
    let nats = fs::read_to_string(built.join("nats.service")).unwrap();
    verify("nats", &here(&nats)).unwrap_or_else(|said| panic!("{said}\n{nats}"));
    let starts: Vec<&str> = nats.lines().filter(|line| line.starts_with("ExecStart")).collect();
    assert!(starts.len() == 2 && starts.iter().all(|line| line.ends_with("-nats.json")), "{nats}");
    assert!(nats.contains("LoadCredential=tls.key:/run/secrets/nats.key\n"), "{nats}");
    assert_eq!(has("config.networking.firewall.allowedTCPPorts"), json!([4222, 6222]));
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
fn defaults_of_tests_are_the_module_s() {
    let Some(tree) = tree("defaults_of_tests_are_the_module_s") else { return };
    for service in ["fireactions", "fireteact"] {
        let ours = eval(&format!("(import ./tests/nix/pure.nix).cfg \"{service}\" {{ pools = [ {{ }} ]; }}"));
        let mut real = eval(&of(
            &tree,
            &format!("{{ services.{service}.pools = [ {{ }} ]; }}"),
            &format!(
                "let ours = (import ./tests/nix/pure.nix).cfg \"{service}\" {{ pools = [ {{ }} ]; }};
                     all = config.services.{service};
                     # Keys of the server have no value; a pool's `machine` is a second name.
                     settings = value: value // {{ settings = {{ }}; }};
                     cut = settings all // {{
                       pools = map settings all.pools;
                       security = {{ inherit (all.security) network; }};
                       debug = {{ inherit (all.debug) enable; }};
                     }};
                 in builtins.intersectAttrs ours cut"
            ),
        ));
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

/// Without a tree, too, an option that changed is noticed.
#[test]
fn the_options_page_is_of_these_options() {
    let sum = eval("import ./tests/nix/options-sum.nix");
    let page = fs::read_to_string(repository().join("docs/reference/nixos.md")).unwrap();
    assert!(
        page.contains(sum.as_str().unwrap()),
        "options changed since docs/reference/nixos.md was written: run scripts/doc-nixos"
    );
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
