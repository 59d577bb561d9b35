//! Images: disks of hosts for clouds, and the root image of runners.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::nix::{eval, repository};
use crate::tree::{flake, tree};

#[test]
fn disks_of_clouds_evaluate_whole() {
    let Some(tree) = tree("disks_of_clouds_evaluate_whole") else { return };
    // A tree from before November 2024 has no Azure on aarch64: there the whole system is not asked for.
    let all = eval(&flake(
        &tree,
        r#"{
          packages = builtins.mapAttrs (_: builtins.attrNames) outputs.packages;
          images = map (image:
            let system = outputs.packages.x86_64-linux."image-${image}".evaluated; inherit (system) config; in {
              mistakes = builtins.filter (said: builtins.match "Azure not currently supported.*" said == null) (mistakes system);
              derivation = if image == "azure-cross" then null else outputs.packages.x86_64-linux."image-${image}".drvPath;
              platform = system.pkgs.stdenv.hostPlatform.system;
              boots = config.boot.loader.grub.devices;
              common = {
                efi = config.boot.loader.grub.efiSupport;
                disks = map (path: config.fileSystems.${path}.device) [ "/" "/boot" ];
                ssh = config.services.openssh.settings.PermitRootLogin;
                open = config.networking.firewall.allowedTCPPorts;
                name = config.networking.hostName;
                cloud = config.services.cloud-init.network.enable;
                grows = config.boot.growPartition;
              };
            }) [ "qcow2" "qcow2-cross" "azure" "azure-cross" ];
        }"#,
    ));
    let expected = [
        ("x86_64-linux", "/dev/vda"),
        ("aarch64-linux", "nodev"),
        ("x86_64-linux", "nodev"),
        ("aarch64-linux", "nodev"),
    ];
    for (image, (platform, boots)) in all["images"].as_array().unwrap().iter().zip(expected) {
        assert_eq!(
            (&image["mistakes"], &image["platform"], &image["boots"]),
            (&json!([]), &json!(platform), &json!([boots])),
            "{image}"
        );
        assert_eq!(
            image["common"],
            json!({
                "efi": true, "disks": ["/dev/disk/by-label/nixos", "/dev/disk/by-label/ESP"],
                "ssh": "prohibit-password", "open": [22], "name": "", "cloud": true, "grows": true,
            })
        );
    }
    for system in ["x86_64-linux", "aarch64-linux", "x86_64-darwin", "aarch64-darwin"] {
        for image in ["image-azure", "image-azure-cross", "image-qcow2", "image-qcow2-cross"] {
            let names = all["packages"][system].as_array().unwrap();
            assert!(names.contains(&json!(image)), "{system}: {names:?}");
        }
    }
}

#[test]
fn a_host_of_the_fleet_can_have_the_image_s_disk() {
    let Some(tree) = tree("a_host_of_the_fleet_can_have_the_image_s_disk") else { return };
    let host = eval(&flake(
        &tree,
        "let system = host { name = \"runner-3\"; directory = ./examples/fleet; host = (builtins.fromJSON (builtins.readFile ./examples/fleet/registry.json)).runner-3; };
         in [ (mistakes system) system.config.networking.hostName system.config.fileSystems.\"/\".device system.config.boot.loader.grub.devices system.config.services.fireactions.enable ]",
    ));
    assert_eq!(host, json!([[], "runner-3", "/dev/disk/by-label/nixos", ["/dev/vda"], true]));
}

fn runner() -> std::path::PathBuf {
    repository().join("images/docker/ubuntu-24.04")
}

/// The lines of the pins: name, version, platform, hash, address.
fn pins() -> Vec<Vec<String>> {
    let text = fs::read_to_string(runner().join("pins")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn what_the_runner_s_image_fetches_is_pinned() {
    let dockerfile = fs::read_to_string(runner().join("Dockerfile")).unwrap();
    let fetched: BTreeSet<&str> =
        dockerfile.split("/fetch ").skip(1).map(|rest| rest.split_whitespace().next().unwrap()).collect();
    let mut pinned = BTreeSet::new();
    for pin in pins() {
        assert_eq!(pin.len(), 5, "{pin:?}");
        assert!(["amd64", "arm64"].contains(&pin[2].as_str()) && pin[4].starts_with("https://"), "{pin:?}");
        let known = pin[3].len() == 64 && pin[3].bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(known || pin[3] == "unknown", "{pin:?}");
        pinned.insert((pin[0].clone(), pin[2].clone()));
    }
    let wanted = fetched
        .iter()
        .flat_map(|name| ["amd64", "arm64"].map(|platform| ((*name).to_owned(), platform.to_owned())));
    assert_eq!(pinned, wanted.collect(), "pins has what the Dockerfile fetches, for both processors");
    // Whatever else comes from the network is Ubuntu's or signed.
    assert!(!dockerfile.contains("curl -") && !dockerfile.contains("wget -"), "{dockerfile}");
    for target in ["github-runner", "gitea-runner", "forgejo-runner"] {
        assert!(dockerfile.contains(&format!("FROM base AS {target}\n")), "{target}");
    }
    assert!(dockerfile.trim_end().ends_with("USER runner") && !dockerfile.contains("openssh-server"));
}

/// Runs `fetch` with these pins, where the network has one file.
fn fetch(dir: &Path, pins: &str, arguments: &[&str]) -> Output {
    for (name, script) in [
        ("dpkg", "echo amd64"),
        // What comes is the address that was asked for.
        (
            "curl",
            "while [ $# -gt 1 ]; do [ \"$1\" = -o ] && file=$2; shift; done; printf %s \"$1\" >\"$file\"",
        ),
    ] {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(dir.join("pins"), pins).unwrap();
    Command::new(runner().join("fetch"))
        .args(arguments)
        .env("PATH", format!("{}:/usr/bin:/bin", dir.display()))
        .env("FETCH_PINS", dir.join("pins"))
        .current_dir(dir)
        .output()
        .unwrap()
}

#[test]
fn a_file_is_what_its_pin_says_or_the_build_ends() {
    let dir = tempfile::tempdir().unwrap();
    // SHA-256 of "https://e.example/tool-1.2".
    let hash = String::from_utf8(
        Command::new("sh")
            .args(["-c", "printf %s https://e.example/tool-1.2 | sha256sum | cut -d ' ' -f 1"])
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    let pin = |version: &str, hash: &str| {
        format!(
            "# no pin\nTOOLS 9 amd64 unknown https://other\nTOOL {version} arm64 x https://arm\nTOOL {version} amd64 {hash} https://e.example/tool-{{version}}\n"
        )
    };
    let file = dir.path().join("file");

    let right = fetch(dir.path(), &pin("1.2", hash.trim()), &["TOOL", "file", ""]);
    assert!(right.status.success() && right.stdout.is_empty(), "{right:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "https://e.example/tool-1.2");

    let changed = fetch(dir.path(), &pin("1.2", &"0".repeat(64)), &["TOOL", "file", ""]);
    let said = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(!changed.status.success() && !file.exists(), "{changed:?}");
    assert!(said.contains("https://e.example/tool-1.2 has changed") && said.contains(hash.trim()), "{said}");

    for (version, argument) in [("1.2", ""), ("1.1", "1.2"), ("unknown", "1.2")] {
        let unknown = fetch(dir.path(), &pin(version, "unknown"), &["TOOL", "file", argument]);
        let said = String::from_utf8_lossy(&unknown.stdout).into_owned();
        assert!(unknown.status.success(), "{unknown:?}");
        assert!(said.contains(&format!("for pins: TOOL 1.2 amd64 {}", hash.trim())), "{said}");
    }
    for (pins, arguments, words) in [
        (pin("unknown", "unknown"), ["TOOL", "file", ""], "name one with --build-arg TOOL_VERSION=…"),
        (pin("1.2", "unknown"), ["TOO", "file", ""], "pins has no TOO for amd64"),
    ] {
        let refused = fetch(dir.path(), &pins, &arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(words), "{said}");
    }
}
