//! The registry's commands.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::fleet::{Fleet, TAGS, ended};

#[test]
fn hosts_are_registered_listed_shown_changed_and_unregistered() {
    let fleet = Fleet::new();
    let ran = fleet.run(&["list"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "NAME  HOSTNAME  PROVIDER  TAGS\n"), "{ran:?}");
    let ran = fleet.run(&[
        "register",
        "do-1",
        "167.71.100.50",
        "-p",
        "digitalocean",
        "-t",
        "prod,runners",
        "--user",
        "ops",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("colmena apply --on do-1"), "{ran:?}");
    assert_eq!(fleet.run(&["register", "six", "2001:db8::7", "-a", "aarch64"]).code, 0);
    assert_eq!(
        fleet.run(&["list"]).out,
        "NAME  HOSTNAME       PROVIDER   TAGS\ndo-1  167.71.100.50  do         prod,runners\nsix   2001:db8::7    baremetal\n"
    );
    let list: serde_json::Value = serde_json::from_str(&fleet.run(&["list", "--json"]).out).unwrap();
    assert_eq!(
        (&list[0]["name"], &list[0]["targetUser"], &list[1]["system"]),
        (&"do-1".into(), &"ops".into(), &"aarch64-linux".into())
    );

    let shown = fleet.run(&["show", "do-1"]).out;
    assert!(shown.contains("tags:     prod, runners\nuser:     ops\nbuilds:   on the host\n"), "{shown}");

    let changed = [
        "set",
        "do-1",
        "--address",
        "ci.example.org",
        "-p",
        "hetzner",
        "-t",
        "dev",
        "--user",
        "root",
        "--build-on-target",
        "false",
    ];
    assert_eq!(fleet.run(&changed).code, 0);
    let host = &fleet.registry()["do-1"];
    assert_eq!(
        (&host["hostname"], &host["provider"], &host["buildOnTarget"]),
        (&"ci.example.org".into(), &"hetzner".into(), &false.into())
    );
    assert!(host["targetUser"].is_null() && host["tags"] == serde_json::json!(["dev"]));
    assert_eq!(fleet.run(&["set", "do-1", "--tags", ""]).code, 0);
    assert_eq!(fleet.registry()["do-1"]["tags"], serde_json::json!([]));

    let ran = fleet.run(&["unregister", "do-1"]);
    assert!(
        ran.code == 0 && ran.err.contains("host 'do-1' (ci.example.org) is not in the registry any more"),
        "{ran:?}"
    );
    assert_eq!(fleet.registry().as_object().unwrap().len(), 1);
}

#[test]
fn tags_are_the_profiles_and_what_hosts_have_besides() {
    let fleet = Fleet::new();
    fleet.write_registry("{\"a\": {\"hostname\": \"h\", \"tags\": [\"prod\", \"berlin\"]}}");
    let ran = fleet.run(&["tags"]);
    assert_eq!(ran.out.lines().count(), 1 + TAGS.len() + 1, "{ran:?}");
    let has =
        |line: &str| ran.out.lines().any(|its| its.split_whitespace().collect::<Vec<_>>().join(" ") == line);
    assert!(has("prod yes a") && has("berlin no a") && has("small yes -"), "{ran:?}");
    // From anywhere, with the flake named.
    let flake = fleet.path("").display().to_string();
    let elsewhere = fleet.command(&["tags", "--json", "--flake", &flake]).current_dir("/").output().unwrap();
    let tags: serde_json::Value = serde_json::from_slice(&elsewhere.stdout).unwrap();
    assert_eq!(tags.as_array().unwrap().len(), 1 + TAGS.len());
}

#[test]
fn twelve_at_once_lose_nothing_in_a_registry_of_five_hundred() {
    let fleet = Fleet::new();
    let mut text = String::from("{\n");
    for n in 0..500 {
        let comma = if n == 499 { "" } else { "," };
        let _ = writeln!(
            text,
            "  \"h{n}\": {{\"hostname\": \"10.1.{}.{}\", \"provider\": \"do\", \"rack\": {n}}}{comma}",
            n / 250,
            n % 250
        );
    }
    text.push_str("}\n");
    fleet.write_registry(&text);
    let begin = Instant::now();
    let all: Vec<_> = (0..12)
        .map(|n| {
            let (name, address) = (format!("new-{n}"), format!("10.2.0.{n}"));
            let mut command = fleet.command(&["register", &name, &address]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in all {
        let ran = ended(child);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(fleet.run(&["unregister", "h250"]).code, 0);
    let registry = fleet.registry();
    assert_eq!(registry.as_object().unwrap().len(), 511);
    assert_eq!(registry["h499"]["rack"], 499);
    assert_eq!(fleet.run(&["list"]).out.lines().count(), 512);
    assert_eq!(fleet.files(), ["registry.json"]);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}
