//! The registry cache's files, and nftables' own judgement of rules.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::nix::pure;

/// Whether nftables takes a table with this content.
fn nft(family: &str, content: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules.nft");
    fs::write(&file, format!("table {family} fireactions_test {{\n{content}\n}}\n")).unwrap();
    // In a network of its own: a check asks the kernel, too.
    let output = Command::new("unshare")
        .args(["--net", "nft", "-c", "-f"])
        .arg(&file)
        .output()
        .expect("unshare and nft are needed");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn nftables_takes_the_redirect_and_the_limits() {
    for mode in ["selective", "all", "off"] {
        let rules = pure(&format!(
            r#"cache.redirect {{ cfg = cacheCfg {{ squid.sslBump.mode = "{mode}"; }}; networks = cacheNetworks; }}"#
        ));
        let rules = rules.as_str().unwrap();
        assert_eq!(rules.contains("dport 443"), mode != "off");
        assert!(rules.contains(r#"iifname "fireteact0" ip daddr != { 0.0.0.0/8, 10.0.0.0/8, "#), "{rules}");
        assert!(
            rules.contains("224.0.0.0/3 } fib daddr type != local tcp dport 80 redirect to :3128"),
            "{rules}"
        );
        nft("ip", rules).unwrap();
    }
    let limits = |arguments: &str| {
        pure(&format!(r#"import ./nix/limits.nix {{ bridge = "fireactions0"; {arguments} }}"#))
            .as_str()
            .unwrap()
            .to_owned()
    };
    let some = limits(r#"rate = 100; additional = "iifname \"fireactions0\" tcp dport 25 drop";"#);
    assert!(
        some.contains("limit rate over 100/second burst 50 packets drop") && some.contains("dport 25 drop"),
        "{some}"
    );
    nft("inet", &some).unwrap();
    let none = limits("rate = 0;");
    assert!(!none.contains("limit"), "{none}");
    nft("inet", &none).unwrap();
    assert!(
        nft("inet", "chain forward { type filter hook forwards priority 0; }").is_err(),
        "nft finds what is wrong"
    );
}

#[test]
fn zot_mirrors_what_is_named() {
    let zot = pure("cache.zot (cacheCfg { })");
    assert_eq!((&zot["http"]["address"], &zot["http"]["port"]), (&json!("0.0.0.0"), &json!("5000")));
    // Guests read, and nobody writes.
    let policies = json!({"repositories": {"**": {"anonymousPolicy": ["read"]}}});
    assert_eq!(zot["http"]["accessControl"], policies);
    let registries = zot["extensions"]["sync"]["registries"].as_array().unwrap();
    assert_eq!(registries.len(), 2);
    // Docker Hub is at the root, others below their names and before it.
    assert_eq!(registries[0]["content"], json!([{"prefix": "**", "destination": "/ghcr.io"}]));
    assert_eq!(registries[1]["urls"], json!(["https://registry-1.docker.io"]));
    assert_eq!(registries[1]["content"], json!([{"prefix": "**"}]));
}

#[test]
fn the_server_is_told_of_zot_alone() {
    let server = |given: &str| pure(&format!(r#"cache.server (cacheCfg {given}) "/nix/zot""#));
    let own = r#"{ zot.port = 5555; zot.mirrors."r.lan:5000" = mirror "r.lan:5000" // { url = "https://r.lan"; }; }"#;
    assert_eq!(
        server(own),
        json!({
            "enabled": true, "program": "zot", "zot_binary": "/nix/zot", "port": 5555,
            "mirrors": {"docker.io": {}, "ghcr.io": {}, "r.lan:5000": {"url": "https://r.lan"}},
        })
    );
    assert_eq!(server("{ zot.enable = false; }"), json!(null));
}

#[test]
fn squid_listens_at_each_bridge_and_serves_guests_alone() {
    let squid = |given: &str| {
        let text = pure(&format!(
            r#"cache.squid {{ cfg = cacheCfg {{ {given} }}; networks = cacheNetworks; squid = "/squid"; certificate = "/c"; key = "/k"; }}"#
        ));
        text.as_str().unwrap().to_owned()
    };
    let selective = squid("");
    for line in [
        "http_port 10.200.0.1:3128 intercept",
        "http_port 10.201.0.1:3128 intercept",
        "acl localnet src 10.200.0.0/24 10.201.0.0/24",
        "http_access deny all",
        "ssl_bump splice all",
        "cache_dir aufs /var/cache/registry-cache/squid 51200 16 256",
        "cache_mem 256 MB",
    ] {
        assert!(selective.lines().any(|has| has == line), "{line}\n{selective}");
    }
    let denied = selective.lines().find(|line| line.starts_with("acl inside dst ")).unwrap();
    assert!(denied.contains(" 192.168.0.0/16 ") && denied.contains(" fc00::/7 "), "{denied}");
    assert!(!selective.contains("ssl_bump bump"), "without domains nothing is opened: {selective}");
    assert!(
        selective.find("deny inside") < selective.find("allow localnet"),
        "the host is no way to its own networks"
    );
    assert!(
        squid(r#"squid.sslBump.domains = [ ".example.com" ];"#)
            .contains("acl bumped ssl::server_name .example.com\nssl_bump peek step1\nssl_bump bump bumped")
    );
    assert!(squid(r#"squid.sslBump.mode = "all";"#).contains("ssl_bump bump all"));
    let off = squid(r#"squid.sslBump.mode = "off";"#);
    assert!(!off.contains("3129") && !off.contains("ssl_bump"), "{off}");
}

/// One list, wherever Squid is configured.
#[test]
fn what_is_not_the_internets_is_the_same_as_the_engines() {
    assert_eq!(pure("cache.inside ++ cache.inside6"), json!(fireactions_registry_cache::INSIDE));
}

#[test]
fn guests_get_the_ports_that_are_there() {
    let ports = |given: &str| pure(&format!("cache.guestPorts (cacheCfg {{ {given} }})"));
    assert_eq!(ports(""), json!([5000, 3128, 3129]));
    assert_eq!(ports(r#"squid.sslBump.mode = "off";"#), json!([5000, 3128]));
    assert_eq!(ports("squid.enable = false; zot.port = 5001;"), json!([5001]));
}
