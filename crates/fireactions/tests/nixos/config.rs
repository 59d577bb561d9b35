//! Options → the server's configuration, judged by the server.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::nix::{pure, pure_error};

/// What `fireactions validate` says about a configuration.
fn validate(config: &Value) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    fs::write(&file, serde_json::to_string_pretty(config).unwrap()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fireactions"))
        .args(["validate", "--any-host"])
        .arg(&file)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.success(), said)
}

fn valid(config: &Value) -> String {
    let (ok, said) = validate(config);
    assert!(ok, "{said}\n{config:#}");
    said
}

#[test]
fn the_page_s_github_host() {
    let mut config = pure(r#"config "fireactions" (page "github").fireactions"#);
    assert_eq!(
        config["github"],
        json!({"app_id": "@github-app-id@", "app_private_key_file": "credential:github-app-key"})
    );
    assert_eq!(config["api_token_file"], "/var/lib/fireactions/api-token");
    assert_eq!(config["bind_address"], ":8080");
    assert_eq!(config["metrics"], json!({"enabled": true, "address": "127.0.0.1:8081"}));
    assert_eq!(config["network"], json!({"bridge": "fireactions0", "subnet": "10.200.0.0/24"}));
    let pool = &config["pools"][0];
    assert_eq!((&pool["max_runners"], &pool["min_runners"]), (&json!(5), &json!(1)));
    assert_eq!(pool["runner"]["organization"], "your-org");
    // The file's content comes at the start.
    config["github"]["app_id"] = json!("12345");
    assert!(!valid(&config).contains("warning"));
}

#[test]
fn the_page_s_gitea_host() {
    let config = pure(
        r#"config "fireteact" (util.merge (page "gitea").fireteact { gitea.runnerScope = "instance"; })"#,
    );
    assert_eq!(
        config["gitea"],
        json!({"url": "https://gitea.example.com", "runner_token_file": "credential:gitea-registration"})
    );
    assert_eq!(config["bind_address"], ":8082");
    assert_eq!(config["network"], json!({"bridge": "fireteact0", "subnet": "10.201.0.0/24"}));
    assert_eq!(config["pools"][0]["runner"]["scope"], "instance");
    valid(&config);
}

#[test]
fn scopes_of_a_gitea_and_a_forgejo() {
    let with = |gitea: &str| {
        pure(&format!(
            r#"config "fireteact" {{ gitea = {{ instanceUrl = "https://g.example.com"; apiTokenFile = "/run/t"; {gitea} }}; pools = [ {{ name = "p"; }} ]; }}"#
        ))
    };
    let owner = with(r#"runnerOwner = "acme";"#);
    assert_eq!(owner["pools"][0]["runner"]["organization"], "acme");
    valid(&owner);
    let repository =
        with(r#"runnerScope = "repo"; runnerOwner = "acme"; runnerRepo = "site"; kind = "forgejo";"#);
    assert_eq!(repository["pools"][0]["runner"]["repository"], "acme/site");
    assert!(
        repository["gitea"].is_null() && repository["forgejo"]["api_token_file"] == "credential:gitea-token"
    );
    valid(&repository);
    let user = with(r#"runnerScope = "user";"#);
    assert_eq!(user["pools"][0]["runner"]["scope"], "user");
    valid(&user);
}

#[test]
fn settings_are_merged_last_and_any_key_goes_through() {
    let config = pure(
        r#"config "fireactions" {
          settings = { shutdown.mode = "wait"; network.subnet = "10.9.0.0/24"; vmm.jailer = false; log_level = null; };
          pools = [ { name = "p"; settings = { network.allow = [ "10.20.0.0/16" ]; disk_size_mib = 2048; deadlines.job = "1h"; }; } ];
        }"#,
    );
    assert_eq!(config["shutdown"]["mode"], "wait");
    assert_eq!(config["network"], json!({"bridge": "fireactions0", "subnet": "10.9.0.0/24"}));
    assert_eq!((&config["vmm"]["jailer"], &config["vmm"]["driver"]), (&json!(false), &json!("firecracker")));
    assert_eq!(config["log_level"], "info", "null is no value");
    assert_eq!(config["pools"][0]["network"]["allow"], json!(["10.20.0.0/16"]));
    valid(&config);

    let typo = pure(r#"config "fireactions" { pools = [ { name = "p"; settings.max_runers = 4; } ]; }"#);
    let (ok, said) = validate(&typo);
    assert!(
        !ok && said.contains("unknown key 'max_runers'") && said.contains("did you mean 'max_runners'?"),
        "{said}"
    );
}

#[test]
fn tokens_follow_from_who_can_reach_the_api() {
    let token = |given: &str| {
        pure(&format!(r#"config "fireactions" {{ pools = [ {{ name = "p"; }} ]; {given} }}"#))["api_token_file"].clone()
    };
    assert_eq!(token(""), "/var/lib/fireactions/api-token");
    assert_eq!(token(r#"bindAddress = "127.0.0.1:8080";"#), Value::Null);
    assert_eq!(
        token(r#"bindAddress = "127.0.0.1:8080"; basicAuth.enable = true;"#),
        "/var/lib/fireactions/api-token"
    );
    assert_eq!(token("bindAddress = null;"), Value::Null);
    assert_eq!(token(r#"apiTokenFile = "/run/secrets/t";"#), "credential:api-token");
    assert_eq!(token(r#"dataDir = "/srv/f";"#), "/srv/f/api-token");
    assert_eq!(token(r#"settings.state_dir = "/srv/f";"#), "/srv/f/api-token");
    assert_eq!(token(r#"settings.bind_address = "127.0.0.1:8080";"#), Value::Null);
}

#[test]
fn a_host_of_a_cluster() {
    let config = |given: &str| {
        pure(&format!(
            r#"config "fireactions" {{ pools = [ {{ name = "p"; }} ]; cluster = {{ name = "ci"; {given} }}; }}"#
        ))
    };
    let urls = r#"urls = [ "tls://a.example.com:4222" "tls://b.example.com" ];"#;
    let by_file = config(&format!(r#"nats = {{ {urls} credsFile = "/run/secrets/creds"; }};"#));
    assert_eq!(by_file["cluster"]["nats"]["creds_file"], "credential:nats-creds");
    let said = valid(&by_file);
    assert!(said.contains("jobs run on the host where they were submitted"), "{said}");
    valid(&config(&format!(
        r#"nats = {{ {urls} tls = {{ certFile = "/c"; keyFile = "/run/k"; caFile = "/a"; }}; }}; host.zone = "z";"#
    )));
    let (ok, said) = validate(&config(&format!("nats = {{ {urls} }};")));
    assert!(!ok && said.contains("NATS must know who this one is"), "{said}");
    assert_eq!(
        pure(r#"(config "fireactions" { pools = [ { name = "p"; } ]; }).cluster or null"#),
        Value::Null
    );
}

#[test]
fn ports_and_networks_that_the_host_opens() {
    let pool = |given: &str, host: &str| {
        let config = pure(&format!(
            r#"withHost "fireactions" {{ pools = [ {{ name = "p"; }} ]; {given} }} {{ {host} }}"#
        ));
        valid(&config);
        config["pools"][0]["network"].clone()
    };
    assert_eq!(pool("", ""), Value::Null);
    assert_eq!(pool("", "cache = [ 5000 3128 ];"), json!({"host_ports": ["tcp/5000", "tcp/3128"]}));
    let isolation = "security.network = { enable = true; allowedHostPorts = [ 9000 ]; allowedHostUdpPorts = [ 53 ]; blockCloudMetadata = false; };";
    assert_eq!(
        pool(isolation, ""),
        json!({"host_ports": ["tcp/9000", "udp/53"], "allow": ["169.254.0.0/16"]})
    );
    assert_eq!(pool(&isolation.replace("enable = true", "enable = false"), ""), Value::Null);
}

#[test]
fn sizes_are_the_page_s() {
    for (size, memory, cpus, max, min) in
        [("small", 1024, 1, 2, 1), ("medium", 2048, 2, 5, 2), ("large", 4096, 4, 10, 5)]
    {
        let config = pure(&format!(
            r#"config "fireactions" {{ github = {{ appId = 1; appPrivateKeyFile = "/run/k"; organization = "acme"; }}; pools = [ (sizes.mkPool "{size}" {{ runner.name = "x"; }}) ]; }}"#
        ));
        let pool = &config["pools"][0];
        assert_eq!(
            pool["firecracker"]["machine_config"],
            json!({"mem_size_mib": memory, "vcpu_count": cpus})
        );
        assert_eq!((&pool["max_runners"], &pool["min_runners"]), (&json!(max), &json!(min)));
        assert_eq!(pool["runner"]["labels"], json!(["self-hosted", "linux", size]));
        assert_eq!((&pool["runner"]["organization"], &pool["runner"]["name"]), (&json!("acme"), &json!("x")));
        valid(&config);
    }
    let said = pure_error(r#"sizes.mkPool "meduim" { }"#);
    assert!(
        said.contains("there is no size 'meduim'; known are large, medium, small; did you mean 'medium'?"),
        "{said}"
    );
}

#[test]
fn a_qemu_host_has_no_word_of_firecracker() {
    let config = pure(r#"config "fireactions" { driver = "qemu"; pools = [ { name = "p"; } ]; }"#);
    assert_eq!(
        config["vmm"],
        json!({"driver": "qemu", "qemu_binary": "/q", "cgroup_parent": "fireactions", "uid_base": 1_900_000_000})
    );
    valid(&config);
}

/// The module names the file that the server reads, which on NixOS is not `/etc/fireactions/config.yaml` wherever a value comes from a
/// file, nor with fireteact alone.
#[test]
fn checks_look_at_the_configuration_that_the_environment_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("filled-in.yaml");
    fs::write(&file, "kernel: {image: /vmlinux}\npools: [{name: p, runner: {image: x}}]\n").unwrap();
    for (check, words) in [
        ("forge check github", "the configuration declares no forge"),
        ("github check", "the configuration has no 'github:' section"),
        ("gitea check", "the configuration declares no Gitea"),
        ("forgejo check", "the configuration declares no Forgejo"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_fireactions"))
            .args(check.split(' '))
            .env("FIREACTIONS_CONFIG", &file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{check}: {said}");
    }
}
