//! Mistakes in options, without nixpkgs: each has one message with the option and what to do.

use serde_json::json;

use crate::nix::pure;

const POOL: &str = r#"pools = [ { name = "p"; } ];"#;

fn failing(name: &str, given: &str) -> Vec<String> {
    serde_json::from_value(pure(&format!(r#"failing "{name}" {{ {given} }}"#))).unwrap()
}

#[test]
fn what_is_right_has_no_mistake() {
    assert_eq!(pure(r#"failing "fireactions" (page "github").fireactions"#), json!([]));
    assert_eq!(pure(r#"failing "fireactions" (page "gpu").fireactions"#), json!([]));
    assert_eq!(
        pure(
            r#"failing "fireteact" (util.merge (page "gitea").fireteact { gitea.runnerScope = "instance"; })"#
        ),
        json!([])
    );
    assert_eq!(failing("fireactions", r#"configFile = "/etc/mine.yaml";"#), [""; 0]);
    assert_eq!(
        failing("fireactions", &format!(r#"kernelSource = "nixpkgs"; kernelVersion = "9"; {POOL}"#)),
        [""; 0]
    );
    assert_eq!(pure("failingBoth (page \"github\").fireactions (page \"gitea\").fireteact"), json!([]));
}

#[test]
fn each_mistake_is_one_message() {
    let cases = [
        ("pools = [ { } ];", "services.fireactions.pools: the 1. pool has no name"),
        (
            r#"pools = [ { name = "p"; minRunners = 3; maxRunners = 2; } ];"#,
            "pool 'p' has minRunners 3, more than its maxRunners 2",
        ),
        (r#"pools = [ { name = "p"; } { name = "p"; } ];"#, "two pools are called 'p'"),
        (
            r#"github = { appId = 1; appPrivateKeyFile = "/nix/store/x-key"; }; pools = [ { name = "p"; } ];"#,
            "services.fireactions.github.appPrivateKeyFile: /nix/store/x-key would be in the Nix store",
        ),
        (r#"apiTokenFile = ./flake.nix; pools = [ { name = "p"; } ];"#, "services.fireactions.apiTokenFile"),
        (
            r#"kernelVersion = "6.6.1"; pools = [ { name = "p"; } ];"#,
            "no hash is known for the upstream kernel 6.6.1; known are 6.1.141",
        ),
        (
            r#"configFile = "/c"; pools = [ { name = "p"; } ];"#,
            "services.fireactions.configFile: the file replaces all options",
        ),
        ("", "services.fireactions.pools: there is no pool"),
        (
            r#"networking.subnet = "10.0.0.0/40"; pools = [ { name = "p"; } ];"#,
            "'10.0.0.0/40' is no IPv4 network",
        ),
        (
            r#"metricsAddress = "127.0.0.1:8080"; pools = [ { name = "p"; } ];"#,
            "the API listens at port 8080 already",
        ),
        (r#"pools = [ { name = "p"; runner.organization = "o"; } ];"#, "nothing says how GitHub is asked"),
    ];
    for (given, words) in cases {
        let said = failing("fireactions", given);
        assert!(said.len() == 1 && said[0].contains(words), "{given}: {said:#?}");
    }
}

#[test]
fn a_cache_s_secrets_are_not_in_the_store() {
    let said = |given: &str| -> Vec<String> {
        serde_json::from_value(pure(&format!("failingCache {{ {given} }}"))).unwrap()
    };
    assert_eq!(said(""), [""; 0]);
    let login = |file: &str| format!(r#"zot.mirrors."ghcr.io".credentialsFile = {file};"#);
    assert_eq!(said(&login(r#""/run/secrets/registries""#)), [""; 0]);
    let ca = |file: &str| format!(r#"squid.ca = {{ certFile = "/etc/ca.pem"; keyFile = {file}; }};"#);
    assert_eq!(said(&ca(r#""/run/secrets/ca.key""#)), [""; 0]);
    for (given, option) in [
        (login("./flake.nix"), r#"zot.mirrors."ghcr.io".credentialsFile"#),
        (login(r#""/nix/store/x-registries""#), r#"zot.mirrors."ghcr.io".credentialsFile"#),
        (ca("./flake.nix"), "squid.ca.keyFile"),
        (ca(r#""/nix/store/x-key""#), "squid.ca.keyFile"),
    ] {
        let said = said(&given);
        assert!(
            said.len() == 1
                && said[0].starts_with(&format!("services.registry-cache.{option}: "))
                && said[0].contains("would be in the Nix store"),
            "{given}: {said:#?}"
        );
    }
}

/// Guests refuse what an authority signs that they do not have.
#[test]
fn https_is_opened_only_with_an_authority_that_guests_can_have() {
    let said = |given: &str| -> Vec<String> {
        serde_json::from_value(pure(&format!("failingCache {{ {given} }}"))).unwrap()
    };
    let own = r#"squid.ca = { certFile = "/etc/ca.pem"; keyFile = "/run/secrets/ca.key"; };"#;
    for opens in [r#"squid.sslBump.domains = [ ".example.com" ];"#, r#"squid.sslBump.mode = "all";"#] {
        let words = said(opens);
        assert!(
            words.len() == 1
                && words[0].starts_with("services.registry-cache.squid.sslBump: ")
                && words[0].contains("squid.ca.certFile"),
            "{opens}: {words:#?}"
        );
        assert_eq!(said(&format!("{opens} {own}")), [""; 0]);
        assert_eq!(said(&format!("{opens} squid.enable = false;")), [""; 0]);
    }
    assert_eq!(said(r#"squid.sslBump = { mode = "off"; domains = [ ".example.com" ]; };"#), [""; 0]);
}

#[test]
fn two_services_must_not_share_networks_ports_or_directories() {
    let both = |one: &str, other: &str| -> Vec<String> {
        serde_json::from_value(pure(&format!("failingBoth {{ {one} }} {{ {other} }}"))).unwrap()
    };
    assert_eq!(both("", ""), [""; 0]);
    for (one, other, words) in [
        (
            r#"networking.subnet = "10.0.0.0/8";"#,
            "",
            "services.fireactions.networking.subnet is 10.0.0.0/8 and services.fireteact.networking.subnet is 10.201.0.0/24, which overlap",
        ),
        (
            "",
            r#"bindAddress = ":8080";"#,
            "services.fireactions.bindAddress and services.fireteact.bindAddress both listen at port 8080",
        ),
        (
            "",
            r#"metricsAddress = "127.0.0.1:8081";"#,
            "services.fireactions.metricsAddress and services.fireteact.metricsAddress both listen at port 8081",
        ),
        ("", r#"networking.bridgeName = "fireactions0";"#, "are both 'fireactions0'"),
        (r#"dataDir = "/srv/f";"#, r#"dataDir = "/srv/f";"#, "are both '/srv/f'"),
    ] {
        let said = both(one, other);
        assert!(said.len() == 1 && said[0].contains(words), "{one} {other}: {said:#?}");
    }
    // What `settings` say wins in the server, so it is what is judged, by its own name.
    for (one, words) in [
        (
            r#"settings.network.subnet = "10.201.0.0/16";"#,
            "services.fireactions.settings.network.subnet is 10.201.0.0/16",
        ),
        (
            r#"settings.network.bridge = "fireteact0";"#,
            "services.fireactions.settings.network.bridge and services.fireteact.networking.bridgeName are both",
        ),
        (
            r#"settings.state_dir = "/var/lib/fireteact";"#,
            "services.fireactions.settings.state_dir and services.fireteact.dataDir are both",
        ),
        (
            r#"settings.bind_address = ":8082";"#,
            "services.fireactions.settings.bind_address and services.fireteact.bindAddress both listen at port 8082",
        ),
    ] {
        let said = both(one, "");
        assert!(said.len() == 1 && said[0].contains(words), "{one}: {said:#?}");
    }
    assert_eq!(both("metricsEnable = false;", r#"bindAddress = ":8081";"#), [""; 0]);
}
