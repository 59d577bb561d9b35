//! Tags, the registry of hosts, and what is wrong with them.

use std::fs;

use serde_json::json;

use crate::nix::{pure, pure_error, try_eval};
use crate::tree::cases;

fn registry(text: &str) -> String {
    format!("registry.parse {{ text = {}; }}", nix_text(text))
}

fn nix_text(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace("${", "\\${")
}

#[test]
fn profiles_come_in_the_tags_alphabetical_order() {
    let names = pure(
        r#"map baseNameOf (map toString (tags.getProfilesForTags [ "runners" "prod" "large" "prod" ]))"#,
    );
    assert_eq!(names, json!(["large.nix", "prod.nix", "runners.nix"]));
    let all = pure("tags.availableProfiles");
    for page in ["prod", "dev", "runners", "small", "medium", "large"] {
        assert!(all.as_array().unwrap().contains(&json!(page)), "{all}");
    }
    assert_eq!(
        all,
        json!([
            "dev",
            "gitea-runners",
            "github-runners",
            "large",
            "medium",
            "prod",
            "queue",
            "registry-cache",
            "runners",
            "security-hardened",
            "small"
        ])
    );
}

/// A flake of one's own has profiles and secrets of its own.
#[test]
fn a_flake_of_one_s_own_has_its_profiles_and_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    fs::create_dir(dir.path().join("profiles")).unwrap();
    fs::create_dir(dir.path().join("hosts")).unwrap();
    for profile in ["gpu", "prod"] {
        fs::write(dir.path().join(format!("profiles/{profile}.nix")), "{ }").unwrap();
    }
    fs::write(dir.path().join("secrets.yaml"), "").unwrap();
    let registry = r#"{ "a": { "hostname": "192.0.2.1", "tags": ["gpu", "prod", "large"] } }"#;
    fs::write(dir.path().join("hosts/registry.json"), registry).unwrap();
    let imports = |more: &str| {
        try_eval(&format!(
            "let hive = import ./hosts {{
                   nixpkgs.lib = builtins; disko.nixosModules.disko = \"disko\"; sops-nix.nixosModules.sops = \"sops\";
                   self.nixosModules = {{ fireactions = \"f\"; fireteact = \"t\"; }}; directory = {at}/hosts; {more}
                 }};
                 all = hive.a.imports;
                 same = value: value;
                 arguments = {{ modulesPath = \"/m\"; lib = {{ mkForce = same; mkDefault = same; mkOverride = _: same; }}; }};
                 given = map (module: if builtins.isFunction module then module arguments else module) all;
                 secrets = builtins.filter (module: builtins.isAttrs module && module ? sops) given;
             in {{ profiles = map toString (builtins.filter builtins.isPath all); secrets = map (module: [ (toString module.sops.defaultSopsFile) module.sops.validateSopsFiles ]) secrets; }}"
        ))
    };
    let own = imports(&format!("profiles = {at}/profiles; secretsFile = {at}/secrets.yaml;")).unwrap();
    let profiles = own["profiles"].as_array().unwrap();
    let project = crate::nix::repository().join("profiles/large.nix").display().to_string();
    // Each beside the project's; of one name, the flake's own.
    assert_eq!(
        profiles[profiles.len() - 3..],
        [json!(format!("{at}/profiles/gpu.nix")), json!(project), json!(format!("{at}/profiles/prod.nix"))]
    );
    assert_eq!(own["secrets"], json!([[format!("{at}/secrets.yaml"), true]]));
    let said = imports("").unwrap_err();
    assert!(said.contains("there is no profile 'gpu'"), "{said}");
}

#[test]
fn an_unknown_tag_is_told_with_the_nearest() {
    let said = pure_error(r#"tags.getProfilesForTags [ "prod" "github-runner" ]"#);
    assert!(
        said.contains("there is no profile 'github-runner': known are dev, ")
            && said.contains("did you mean 'github-runners'?"),
        "{said}"
    );
    assert!(said.contains("correct the tag in hosts/registry.json"), "{said}");
}

#[test]
fn a_registry_as_others_wrote_it_is_read() {
    let file = r#"{ "do-1": { "hostname": "192.0.2.1", "provider": "do", "system": "x86_64-linux", "deployed": "2025-12-07T14:08:55+01:00", "tags": ["dev", "small"] },
      "odd": { "hostname": "h.example.com", "provider": "somewhere", "note": "kept" } }"#;
    let hosts = pure(&registry(file));
    assert_eq!(hosts["do-1"]["platform"], json!({"disk": "/dev/vda", "cloudInit": true}));
    assert_eq!(hosts["do-1"]["buildOnTarget"], true);
    let odd = &hosts["odd"];
    assert_eq!(
        (&odd["platform"]["disk"], &odd["system"], &odd["targetUser"], &odd["tags"]),
        (&json!("/dev/vda"), &json!("x86_64-linux"), &json!("root"), &json!([]))
    );
    assert_eq!(pure(&registry("{}\n")), json!({}));
}

#[test]
fn a_registry_that_cannot_be_is_told() {
    for (text, words) in [
        ("", "hosts/registry.json: this is no JSON object"),
        (r#"{ "a": { "hostname": "192.0.2.1""#, "it may have been cut off"),
        ("[]", "this is no JSON object"),
        (r#"{ "version": 2, "hosts": {} }"#, "a registry of another version (\"version\": 2)"),
        (r#"{ "a b": { "hostname": "x" } }"#, "host 'a b': the name is no host name"),
        (r#"{ "a": { } }"#, "host 'a': it has no \"hostname\""),
        (r#"{ "a": 5 }"#, "host 'a': it is no object"),
        (
            r#"{ "a": { "hostname": "x", "provider": "do", "system": "aarch64-linux" } }"#,
            "host 'a': DigitalOcean has no aarch64 hosts",
        ),
        (r#"{ "a": { "hostname": "x", "system": "riscv64-linux" } }"#, "its system is 'riscv64-linux'"),
        (r#"{ "a": { "hostname": "x", "tags": "prod" } }"#, "its \"tags\" are no list"),
    ] {
        let said = pure_error(&registry(text));
        assert!(said.contains(words), "{text}: {said}");
    }
}

#[test]
fn a_file_of_a_host_without_an_entry_is_told() {
    let said = pure(
        r#"registry.orphans { hosts = { runner-1 = { }; }; files = [ "default.nix" "registry.json" "runner-1.nix" "runer-1.nix" "_shared.nix" ]; }"#,
    );
    let said = said.as_array().unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    let words = said[0].as_str().unwrap();
    assert!(
        words.contains(
            "hosts/runer-1.nix: hosts/registry.json has no host 'runer-1'; did you mean 'runner-1'?"
        ),
        "{words}"
    );
}

/// A directory for each mistake, with what must be said.
#[test]
fn a_fleet_with_a_mistake_is_no_hive() {
    let hive = |directory: &str| {
        try_eval(&format!(
            "builtins.mapAttrs (_: node: node.deployment.targetHost)
               (removeAttrs (import ./hosts {{ nixpkgs.lib = builtins; disko = null; sops-nix = null; self = null; directory = {directory}; }}) [ \"meta\" ])"
        ))
    };
    assert_eq!(
        hive("./examples/fleet").unwrap(),
        json!({"runner-1": "192.0.2.11", "runner-2": "192.0.2.12", "runner-3": "192.0.2.13"})
    );
    let cases = cases("wrong-fleet");
    assert!(cases.len() >= 4, "{cases:?}");
    for case in cases {
        let said = hive(&case.display().to_string()).unwrap_err();
        for words in fs::read_to_string(case.join("said")).unwrap().trim().split(" / ") {
            assert!(said.contains(words), "{}: '{words}' is not in: {said}", case.display());
        }
    }
}

/// The host's tool chooses a system by these words too.
#[test]
fn providers_have_their_disks() {
    let disks = pure("builtins.mapAttrs (_: provider: provider.disk) (import ./nix/providers.nix)");
    assert_eq!(
        disks,
        json!({"do": "/dev/vda", "hetzner": "/dev/sda", "generic": "/dev/vda", "nvme": "/dev/nvme0n1", "baremetal": "/dev/sda"})
    );
}
