//! The project's page: what it names is there.

use std::fs;

use crate::nix::repository;

#[test]
fn its_files_are_where_it_says() {
    for path in [
        "flake.nix",
        "flake.lock",
        "modules/fireactions/default.nix",
        "modules/fireactions/security/README.md",
        "modules/fireteact/default.nix",
        "pkgs/fireactions.nix",
        "pkgs/firecracker-kernel.nix",
        "pkgs/firecracker-kernel-custom.nix",
        "pkgs/firecracker-kernel-custom.config",
        "pkgs/tc-redirect-tap.nix",
        "profiles/default.nix",
        "profiles/prod.nix",
        "profiles/dev.nix",
        "profiles/runners.nix",
        "profiles/small.nix",
        "profiles/medium.nix",
        "profiles/large.nix",
        "hosts/default.nix",
        "hosts/registry.json",
        "secrets/.sops.yaml",
        "secrets/secrets.yaml.example",
        "deploy/deploy.sh",
        "deploy/base.nix",
        "deploy/configuration.nix",
        "deploy/disko.nix",
        "deploy/digitalocean.nix",
        "deploy/secrets.nix",
        "images/qcow2.nix",
        "images/azure.nix",
        "images/docker/ubuntu-24.04/README.md",
        "scripts/check-prerequisites.sh",
        "examples/README.md",
        "examples/minimal-github/flake.nix",
        "docs/GETTING_STARTED.md",
        "docs/requirements.md",
        "fireteact/README.md",
    ] {
        assert!(repository().join(path).is_file(), "{path}");
    }
}

/// The kinds of input that people get wrong, each with a case that is refused.
#[test]
fn every_mistake_of_a_host_or_a_fleet_has_its_case() {
    for case in [
        "wrong/pool-without-name.nix",
        "wrong/min-over-max.nix",
        "wrong/secret-in-store.nix",
        "wrong/same-name.nix",
        "wrong/unknown-tag.nix",
        "wrong-fleet/host-without-entry/registry.json",
        "wrong-fleet/registry-cut-off/registry.json",
        "wrong-fleet/registry-of-another-version/registry.json",
        "wrong-fleet/provider-without-arch/registry.json",
        "wrong/subnets-overlap.nix",
        "wrong/ports-clash.nix",
        "wrong/kernel-without-hash.nix",
        "wrong/file-and-pools.nix",
    ] {
        let text = fs::read_to_string(repository().join("tests/nix").join(case)).unwrap_or_default();
        assert!(!text.is_empty(), "{case}");
    }
}
