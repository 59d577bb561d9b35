//! The JSON schema and the parser say the same: an editor marks nothing that the server takes, but for keys of other
//! programs, which are warnings at best, and marks what it can of what the server refuses.

use std::path::Path;
use std::sync::LazyLock;

use fireactions_config::{Host, json_schema, parse};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema() -> &'static Validator {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(|| jsonschema::validator_for(json_schema()).unwrap());
    &SCHEMA
}

/// A right file with this value at a key: JSON is YAML.
fn with(key: &str, value: &Value) -> Value {
    let mut file = json!({
        "kernel": {"image": "/k"},
        "pools": [{"name": "a", "max_runners": 2, "runner": {"image": "debian", "labels": ["x"]}}],
    });
    let top = key.split('/').nth(1).unwrap();
    if top == "github" || key.contains("/runner") {
        let pool = json!({"name": "a", "max_runners": 2, "runner": {"image": "debian", "labels": ["x"]}});
        file["github"] = json!({"app_id": 1, "app_private_key_file": "/key", "webhook": {"listen": "127.0.0.1:1", "secret_file": "/s"}});
        file["pools"] = json!([pool]);
    }
    if matches!(top, "gitea" | "forgejo" | "forges") {
        let mut pool = json!({"name": "a", "max_runners": 2, "runner": {"image": "debian", "labels": ["x"], "scope": "user"}});
        let forge = json!({"url": "https://g", "api_token_file": "/t"});
        if top == "forges" {
            let webhook = json!({"listen": "127.0.0.1:1", "secret_file": "/s"});
            file["forges"] = json!({"tea": {"kind": "gitea", "url": "https://g", "api_token_file": "/t", "webhook": webhook}});
            pool["runner"]["forge"] = json!("tea");
        } else {
            file[top] = forge;
        }
        file["pools"] = json!([pool]);
    }
    let mut at = &mut file;
    for part in key.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    *at = value.clone();
    file
}

fn is_taken(file: &Value) -> bool {
    parse(Path::new("c"), file.to_string().as_bytes(), &Host::unknown()).is_ok()
}

/// Values that are taken, and those that are refused, at keys.
fn cases() -> Vec<(&'static str, Value, Value)> {
    vec![
        ("/log_level", json!(["trace", "error", "fatal", "panic"]), json!(["loud", "", 1, "Error"])),
        (
            "/kernel/modules_load",
            json!([["veth"], [], ["br_netfilter", "a-b"]]),
            json!([["veth.ko"], [""], ["a b"], "veth"]),
        ),
        (
            "/pools/0/runner/data_dirs",
            json!([["/srv"], ["/var/cache/ccache", "/home/runner/_work"], ["/device"]]),
            json!([
                ["srv"],
                ["/"],
                ["/srv/"],
                ["/srv//x"],
                ["/a/../b"],
                ["/a/."],
                ["/dev/shm"],
                ["/sys"],
                ["/a b"]
            ]),
        ),
        (
            "/pools/0/runner/sticky",
            json!([[], [{"path": "/srv/x", "key": "a.B_c-1", "size_mib": 16}]]),
            json!([
                [{"path": "x", "key": "a", "size_mib": 16}],
                [{"path": "/x", "key": "a/b", "size_mib": 16}],
                [{"path": "/x", "key": "", "size_mib": 16}],
                [{"path": "/x", "key": "a", "size_mib": 15}],
                [{"path": "/x", "key": "a"}],
                [{"path": "/a", "key": "a", "size_mib": 16}, {"path": "/b", "key": "b", "size_mib": 16}, {"path": "/c", "key": "c", "size_mib": 16}, {"path": "/d", "key": "d", "size_mib": 16}, {"path": "/e", "key": "e", "size_mib": 16}],
            ]),
        ),
        ("/pools/0/disk_bytes_per_inode", json!([1024, 16384, 65536]), json!([512, 3000, 131_072, "16k"])),
        (
            "/pools/0/runner/services",
            json!([
                [],
                ["dockerd"],
                [{"name": "x"}],
                [{"name": "x", "command": ["y", ""], "ready": {"port": 80}, "restart": true, "timeout": "5m"}],
                [{"name": "x", "ready": {"socket": "/s"}}, {"name": "y", "ready": {"command": ["true"]}}, {"name": "z", "ready": {"http": {"socket": "/s", "path": "/"}}}],
            ]),
            json!([["dockerd --debug"], [""], [{}], [{"name": "x", "ready": {"port": 70_000}}], [{"name": "x", "command": []}], [7]]),
        ),
        ("/log_format", json!(["text", "json"]), json!(["xml"])),
        ("/debug", json!([true, false]), json!(["yes", 1])),
        (
            "/api_socket",
            json!(["/a", "/a b/..c/c..", "/ä"]),
            json!(["a", "", "/a/../b", "/..", format!("/{}", "x".repeat(107))]),
        ),
        (
            "/api_socket_mode",
            json!(["0660", "660", "0o600", "0700"]),
            json!(["0666", "0661", "66", "08", "+660", "01660"]),
        ),
        ("/api_socket_group", json!(["ci", "a.b-c_d$", "_x"]), json!(["", "-x", "a b", "x".repeat(33)])),
        (
            "/api_token_file",
            json!(["/t", "credential:a.b-c@d"]),
            json!(["t", "credential:", "credential:.x", "credential:a/b", "/../t"]),
        ),
        (
            "/bind_address",
            json!(["127.0.0.1:80", "[::1]:0", "localhost:8080", "[::ffff:127.0.0.1]:80"]),
            json!(["127.0.0.1", "host:80", "::1:80", "127.0.0.1:x"]),
        ),
        ("/state_dir", json!(["/var/lib/x"]), json!(["x", format!("/{}", "x".repeat(70))])),
        ("/agent_path", json!(["/a"]), json!(["a"])),
        ("/metrics", json!([{"enabled": true}, {}]), json!([{"enabeld": true}, 1, []])),
        ("/vmm/qemu_binary", json!(["qemu", "/usr/bin/qemu"]), json!(["", "a b", "./qemu", "/a/../b"])),
        (
            "/vmm/cgroup_parent",
            json!(["fireactions", "a/b.slice", "x@1:2"]),
            json!(["", "/a", "a/", "a/../b", ".", "a b", "x".repeat(201)]),
        ),
        ("/vmm/uid_base", json!([65536, 2_147_000_000]), json!([65535, 2_147_000_001_u32, "x"])),
        ("/kernel/args", json!(["quiet x=1"]), json!(["a\nb", "x".repeat(1501)])),
        (
            "/network/bridge",
            json!(["fireactions0", "a-b_c"]),
            json!(["", "fam0", "a.b", "0a", "a234567890123456"]),
        ),
        (
            "/network/subnet",
            json!(["10.0.0.0/8", "192.168.1.0/29"]),
            json!(["10.0.0.0/30", "10.0.0.0/7", "10.0.0.0", "x"]),
        ),
        ("/network/dns", json!([["9.9.9.9"], []]), json!(["9.9.9.9", [1]])),
        (
            "/images/insecure_registries",
            json!([["a:5000", "[::1]:5000"]]),
            json!([["https://a"], ["a/b"], [""]]),
        ),
        (
            "/registry_cache",
            json!([
                {"enabled": true},
                {"enabled": true, "mirrors": {"docker.io": {}, "r.example.com:5000": {"port": 5010}}, "port": 5005},
                {"program": "docker-registry", "max_size_mib": 64, "storage_dir": "/srv/cache"},
                {"program": "zot", "zot_binary": "/opt/zot"},
                {"enabled": true, "proxy": {"enabled": true, "port": 3129, "max_size_mib": 64, "ssl_bump": {"mode": "selective", "domains": [".example.com", "a.b"]}}},
                {"proxy": {"ssl_bump": {"mode": "off"}, "squid_binary": "/opt/squid", "memory_cache_mib": 8}},
            ]),
            json!([
                {"mirrors": ["docker.io"]},
                {"mirrors": {"https://ghcr.io": {}}},
                {"mirrors": {"Docker.io": {}}},
                {"mirrors": {"ghcr.io:0": {}}},
                {"mirrors": {"ghcr.io": {"ttl": "1h"}}},
                {"program": "squid"},
                {"proxy": {"port": 0}},
                {"proxy": {"ssl_bump": {"mode": "some"}}},
                {"proxy": {"ssl_bump": {"domains": ["a b"]}}},
                {"proxy": {"ssl_bump": {"domains": [""]}}},
                {"port": 0},
                {"max_size_mib": 1},
            ]),
        ),
        (
            "/registry_cache/mirrors/docker.io",
            json!([{"url": "https://mirror.example.com", "credentials_file": "credential:hub"}, {"url": null}]),
            json!([{"url": 7}, {"credentials_file": "hub"}, {"port": 70_000}]),
        ),
        (
            "/actions_cache",
            json!([
                {"enabled": true},
                {"enabled": true, "port": 6000, "storage_dir": "/srv/cache", "keep_free_mib": 0, "unused_for": "30d"},
                {"max_size_mib": 102_400, "max_repository_mib": 20_480},
                {"s3": null},
                {"s3": {"bucket": "ci-cache", "access_key_id": "id", "secret_access_key_file": "credential:s3"}},
                {"s3": {"bucket": "b.c", "endpoint": "https://s3.lan:9000", "region": "eu-1", "prefix": "a/b/", "path_style": false,
                        "access_key_id": "id", "secret_access_key_file": "/s", "ca_file": "/c", "insecure_http": false}},
            ]),
            json!([
                {"port": 0}, {"storage_dir": "cache"}, {"max_size_mib": 63}, {"max_repository_mib": 0},
                {"unused_for": 7}, {"idle_days": 7}, {"s3": {}}, {"s3": {"bucket": "ci-cache"}},
                {"s3": {"bucket": "C", "access_key_id": "id", "secret_access_key_file": "/s"}},
                {"s3": {"bucket": "ci-cache", "access_key_id": "id", "secret_access_key_file": "secret"}},
                {"s3": {"bucket": "ci-cache", "access_key_id": "id", "secret_access_key_file": "/s", "prefix": "../x"}},
                {"s3": {"bucket": "ci-cache", "access_key_id": "i d", "secret_access_key_file": "/s"}},
                {"s3": {"bucket": "ci-cache", "access_key_id": "id", "secret_access_key_file": "/s", "region": "eu 1"}},
            ]),
        ),
        (
            "/api_oidc",
            json!([
                null,
                {"issuer": "https://sso", "url": "https://ci/", "client_id": "ci", "groups": {"ops": "admin"}},
                {"issuer": "http://localhost:1", "url": "http://127.0.0.1/x", "client_id": "ci", "groups": {"a b": "viewer"}, "name": "Acme",
                 "client_secret_file": "credential:s", "scopes": [], "groups_claim": "roles", "ca_file": "/ca"},
            ]),
            json!([
                {}, {"issuer": "https://sso", "url": "https://ci/", "client_id": "ci"},
                {"issuer": "https://sso", "url": "https://ci/", "client_id": "ci", "groups": {}},
                {"issuer": "https://sso", "url": "https://ci/", "client_id": "ci", "groups": {"ops": "root"}},
                {"issuer": "https://sso", "url": "https://ci/", "client_id": "", "groups": {"ops": "admin"}},
                {"issuer": "https://sso", "url": "https://ci/", "client_id": "ci", "groups": ["ops"]},
                {"issuer": "https://sso", "url": "https://ci/", "client_id": "ci", "groups": {"ops": "admin"}, "client_secret_file": "s"},
            ]),
        ),
        (
            "/telemetry",
            json!([
                {},
                {"otlp": null},
                {"otlp": {"endpoint": "https://otel.lan:4317"}},
                {"otlp": {"endpoint": "http://127.0.0.1:4318", "protocol": "http", "headers_file": "credential:otlp", "timeout": "1s",
                          "ca_file": "/ca.pem", "resource": {"a.b": "c d"}}},
                {"otlp": {"endpoint": "http://otel.lan/x/", "protocol": "http", "insecure_http": true}},
            ]),
            json!([
                {"otlp": {}}, {"otlp": {"endpoint": 4317}}, {"otlp": {"endpoint": "https://o", "protocol": "http/protobuf"}},
                {"otlp": {"endpoint": "https://o", "headers_file": "token"}}, {"otlp": {"endpoint": "https://o", "timeout": 10}},
                {"otlp": {"endpoint": "https://o", "resource": {"a b": "c"}}}, {"otlp": {"endpoint": "https://o", "resource": {"a": 1}}},
                {"otlp": {"endpoint": "https://o", "headers": {"a": "b"}}}, {"prometheus": {}},
            ]),
        ),
        (
            "/cluster",
            json!([
                null,
                {"name": "ci", "nats": {"urls": ["nats://localhost"]}},
                {"name": "ci", "nats": {"urls": ["tls://a.lan:4222", "TLS://[::1]"], "creds_file": "credential:n", "tls": {"ca_file": "/ca.pem"}},
                 "host": {"name": "ci-1_A", "labels": ["GPU"], "zone": "a.b-1"}},
                {"name": "ci", "nats": {"urls": ["tls://a/"], "tls": {"cert_file": "/c", "key_file": "/k"}}, "host": {}},
            ]),
            json!([
                {}, {"name": "ci"}, {"name": "C", "nats": {"urls": ["nats://localhost"]}}, {"name": "ci", "nats": {}},
                {"name": "ci", "nats": {"urls": ["localhost:4222"]}}, {"name": "ci", "nats": {"urls": ["http://a"]}},
                {"name": "ci", "nats": {"urls": ["nats://me@localhost"]}}, {"name": "ci", "nats": {"urls": []}},
                {"name": "ci", "nats": {"urls": ["nats://localhost"], "creds_file": "creds"}},
                {"name": "ci", "nats": {"urls": ["nats://localhost"]}, "host": {"name": "a.b"}},
                {"name": "ci", "nats": {"urls": ["nats://localhost"]}, "host": {"zone": "a b"}},
                {"name": "ci", "nats": {"urls": ["nats://localhost"]}, "host": {"labels": ["a,b"]}},
            ]),
        ),
        (
            "/images/unused_for",
            json!(["30d", "1h 30m", "1.5h", "0", "2weeks"]),
            json!(["30", "x", "-1s", "1 fortnight", ""]),
        ),
        ("/local/attempts", json!([1, 100]), json!([0, 101, 1.5])),
        ("/pools/0/name", json!(["a", "a.b_c-d", "9"]), json!(["", "-a", "a b", "x".repeat(64)])),
        (
            "/pools/0/on_failure",
            json!(["destroy", {"hold": {"for": "1h"}}]),
            json!(["keep", {"hold": {"max": 0}}]),
        ),
        ("/pools/0/deadlines", json!([{"boot": "1m"}, {}]), json!([{"boot": "soon"}, {"bot": "1m"}])),
        ("/pools/0/network/allow", json!([["10.0.0.0/8"]]), json!([["10.0.0.0/33"], ["10.0.0.0"]])),
        (
            "/pools/0/network/host_ports",
            json!([["tcp/80", "udp/65535"]]),
            json!([["tcp/0"], ["tcp"], ["icmp/1"], ["tcp/+80"]]),
        ),
        (
            "/pools/0/runner/image",
            json!(["debian", format!("r:5000/a@sha256:{}", "a".repeat(64))]),
            json!(["", "a b"]),
        ),
        ("/pools/0/runner/labels", json!([["a b", "Ä"]]), json!([["a,b"], [" a"], [""]])),
        ("/pools/0/runner/organization", json!(["acme", "A-1_b"]), json!(["", "..", "a/b", "ä"])),
        ("/pools/0/runner/repository", json!(["acme/x.y"]), json!(["acme", "acme/..", "a/b/c", "/x"])),
        ("/pools/0/runner/forge", json!([null]), json!(["", "GitHub", "a b", "x".repeat(33)])),
        ("/pools/0/runner/scope", json!([null]), json!(["world", 1])),
        (
            "/gitea",
            json!([
                {"url": "https://g/git/", "api_token_file": "/t", "insecure_http": false, "poll_interval": "1s"},
                {"url": "http://g", "runner_token_file": "credential:t", "insecure_http": true, "audit_interval": "1h"},
                {"url": "https://g", "api_token_file": "/t", "webhook": {"listen": ":1", "secret_file": "/s"}},
            ]),
            json!([
                {"api_token_file": "/t"},
                {"url": "https://g"},
                {"url": "https://g", "api_token_file": "/t", "runner_token_file": "/r"},
                {"url": "https://g", "token_file": "/t"},
                {"url": "https://g", "api_token_file": "t"},
                {"url": "https://g", "api_token_file": "/t", "webhook": {"listen": ":1"}},
                {"url": "https://g", "api_token_file": "/t", "kind": "gitea"},
            ]),
        ),
        ("/gitea/poll_interval", json!(["1s", "5m"]), json!([3, "often"])),
        (
            "/forgejo",
            json!([{"url": "https://g", "api_token_file": "/t"}, {"url": "https://g", "api_token_file": "/t", "webhook": null}]),
            json!([
                {"url": "https://g"},
                {"url": "https://g", "api_token_file": "/t", "webhook": {"listen": ":1", "secret_file": "/s"}},
            ]),
        ),
        (
            "/forges/tea",
            json!([
                {"kind": "gitea", "url": "https://g", "api_token_file": "/t"},
                {"url": "https://g", "runner_token_file": "/t", "kind": "forgejo"},
            ]),
            json!([
                {"url": "https://g", "api_token_file": "/t"},
                {"kind": null, "url": "https://g", "api_token_file": "/t"},
                {"kind": "gitlab", "url": "https://g", "api_token_file": "/t"},
                {"kind": ["gitea"], "url": "https://g", "api_token_file": "/t"},
                {"kind": "gitea", "api_token_file": "/t"},
                {"kind": "gitea", "url": "https://g", "api_token_file": "/t", "app_id": 1},
                {"kind": "gitea", "url": "https://g"},
                {"kind": "forgejo", "url": "https://g", "api_token_file": "/t", "webhook": {"listen": ":1", "secret_file": "/s"}},
                {"gitea": {"url": "https://g", "api_token_file": "/t"}},
                "gitea",
                null,
            ]),
        ),
        (
            "/forges",
            json!([{"tea": {"kind": "gitea", "url": "https://g", "api_token_file": "/t"}}]),
            json!([{"Tea": {"kind": "gitea", "url": "https://g", "api_token_file": "/t"}}, {"local": {"kind": "github", "token_file": "/t"}}, []]),
        ),
        ("/forges/tea/webhook/path", json!([null, "/x"]), json!(["x", "/a?b"])),
        ("/github/app_id", json!([1, "Iv23abc", "7"]), json!([0, "0", "", "a b", "x".repeat(41)])),
        ("/github/webhook/listen", json!([":8090"]), json!(["8090"])),
        (
            "/github/webhook/path",
            json!(["/", "/a/b~c"]),
            json!(["", "a", "/a?b", format!("/{}", "x".repeat(200))]),
        ),
        ("/github/webhook/secret_file", json!(["/s", "credential:s"]), json!(["s"])),
        // What excludes or needs each other.
        ("/pools/0/replicas", json!([null]), json!([2])),
        ("/pools/0/max_runners", json!([1, null]), json!([0, 65537])),
        ("/github/token_file", json!([null]), json!(["/t"])),
        ("/github/apps", json!([[]]), json!([[{"app_id": 2, "private_key_file": "/k"}]])),
        ("/github/app_private_key_file", json!(["/k"]), json!([null])),
        (
            "/github/webhook",
            json!([{"listen": ":1", "secret_files": ["/a"]}]),
            json!([{"listen": ":1"}, {"listen": ":1", "secret_files": []}]),
        ),
        (
            "/pools/0/runner",
            json!([{"image": "i", "organization": "a", "group": "g"}, {"image": "i", "labels": ["x"], "group": "g", "group_id": 1}]),
            json!([{"image": "i", "organization": "a", "repository": "a/b"}, {"image": "i", "organization": "a", "group": "g", "group_id": 1}, {"labels": ["x"]}]),
        ),
    ]
}

#[test]
fn an_editor_and_the_server_agree() {
    let schema = schema();
    let mut wrong = Vec::new();
    for (key, good, bad) in cases() {
        for (values, taken) in [(good, true), (bad, false)] {
            for value in values.as_array().unwrap() {
                let file = with(key, value);
                let said = (is_taken(&file), schema.is_valid(&file));
                if said != (taken, taken) {
                    wrong.push(format!(
                        "{key}: {value}: (server, editor) take it: {said:?}, and should: {taken}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_that_are_right_are_right_by_the_schema() {
    let schema = schema();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for name in ["config.yaml", "minimal.yaml", "github.yaml", "gitea.yaml", "forgejo.yaml"] {
        let text = std::fs::read_to_string(examples.join(name)).unwrap();
        let file: Value = serde_saphyr::from_str(&text).unwrap();
        let errors: Vec<String> =
            schema.iter_errors(&file).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

/// A section that is left out is as its default, which an editor shows.
#[test]
fn defaults_of_sections_change_nothing() {
    let file = with("/debug", &json!(false));
    let config = |file: &Value| {
        let loaded = parse(Path::new("c"), file.to_string().as_bytes(), &Host::unknown()).unwrap();
        format!("{:?}", loaded.config)
    };
    let mut sections = 0;
    for (key, field) in json_schema()["properties"].as_object().unwrap() {
        if let Some(default) = field.get("default").filter(|default| !default.is_null()) {
            let mut with_default = file.clone();
            if with_default.get(key).is_none() {
                with_default[key] = default.clone();
                assert_eq!(config(&with_default), config(&file), "{key}");
                sections += usize::from(default.is_object());
            }
        }
    }
    assert!(sections >= 6, "{sections}");
}

fn keys() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(cases().into_iter().map(|(key, ..)| key).collect::<Vec<_>>())
}

/// Parts of values, put together at random.
fn text() -> impl Strategy<Value = String> {
    let part = proptest::sample::select(vec![
        "/",
        "a",
        "Z",
        "0",
        "7",
        "9",
        ".",
        "..",
        ":",
        "-",
        "_",
        "@",
        " ",
        "\n",
        "\t",
        "\u{e4}",
        "[",
        "]",
        "::1",
        "127.0.0.1",
        ":80",
        "tcp/",
        "credential:",
        "s",
        "m",
        "h",
        "d",
        "M",
        "ms",
        "\u{b5}s",
        "1.5",
        "0o",
        "660",
        "10.0.0.0/",
        "24",
        "fam",
        "~",
        ",",
        "%",
        "+",
        "localhost",
        "xxxxxxxxxxxxxxxx",
    ]);
    proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]
    #[test]
    fn an_editor_marks_nothing_that_the_server_takes(key in keys(), text in text(), number in any::<i64>(), kind in 0..3) {
        let value = match kind {
            0 => json!(text),
            1 => json!([text]),
            _ => json!(number),
        };
        let file = with(key, &value);
        if is_taken(&file) {
            let validator = schema();
            let errors: Vec<String> = validator.iter_errors(&file).map(|error| error.to_string()).collect();
            prop_assert!(errors.is_empty(), "{key}: {value}: {errors:?}");
        }
    }
}
