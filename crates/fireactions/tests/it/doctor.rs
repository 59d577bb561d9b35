//! `fireactions doctor` on this very host, whatever it has.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use fireactions_fleet::doctor::CHECKS;
use fireactions_testkit::{guest, skip};
use serde_json::Value;

/// Runs the doctor for a configuration: exit code and findings.
fn doctor(dir: &Path, config: &str) -> (i32, Vec<Value>) {
    doctor_after("true", dir, config)
}

/// The same in network and mount namespaces of its own, once the shell script `before` has run there.
fn doctor_after(before: &str, dir: &Path, config: &str) -> (i32, Vec<Value>) {
    let file = dir.join("config.yaml");
    fs::write(&file, config).unwrap();
    let script = format!("set -e; {before}; exec \"$0\" doctor --json --config \"$1\"");
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_fireactions")])
        .arg(&file)
        .output()
        .expect("unshare (util-linux) is needed");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().unwrap().clone();
    let code = output.status.code().unwrap();
    is_consistent(code, &findings);
    (code, findings)
}

/// Whatever was found: known checks by group, advice for all that is not well, and the worst as the exit code.
fn is_consistent(code: i32, findings: &[Value]) {
    let mut worst = 0;
    let mut places = Vec::new();
    for finding in findings {
        let place = CHECKS.iter().position(|check| check.name == finding["check"]);
        let place = place.unwrap_or_else(|| panic!("no such check: {finding}"));
        assert_eq!(finding["group"], CHECKS[place].group.as_str());
        places.push(place);
        let severity = match finding["severity"].as_str().unwrap() {
            "ok" => 0,
            "warning" => 1,
            "error" => 2,
            other => panic!("{other}"),
        };
        assert_eq!(finding["advice"].is_null(), severity == 0, "{finding}");
        assert!(severity == 0 || finding["advice"].as_str().unwrap().len() > 10, "{finding}");
        let found = finding["found"].as_str().unwrap();
        assert!(!found.is_empty() && !found.contains(char::is_control), "{finding}");
        worst = worst.max(severity);
    }
    assert!(places.is_sorted());
    assert_eq!(code, worst);
}

fn severity<'a>(findings: &'a [Value], check: &str) -> &'a str {
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("'{check}' was not looked at"))["severity"].as_str().unwrap()
}

fn config(dir: &Path, vmm: &str) -> String {
    let guest::Kernel { image, modules } = guest::kernel();
    format!(
        "state_dir: {}/state\nagent_path: /bin/sh\nvmm: {vmm}\nkernel: {{image: {}, modules: {}}}\n\
         pools: [{{name: p, max_runners: 1, runner: {{image: i}}}}]\n",
        dir.display(),
        image.display(),
        modules.display()
    )
}

#[test]
fn a_host_that_emulates_needs_no_kvm() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("state")).unwrap();
    let (_, findings) = doctor(dir.path(), &config(dir.path(), "{accel: tcg}"));
    for check in [
        "config",
        "kvm_device",
        "accel",
        "qemu",
        "kernel",
        "modules",
        "tar2sqfs",
        "zstd",
        "mke2fs",
        "firecracker",
    ] {
        assert_eq!(severity(&findings, check), "ok", "{check}: {findings:?}");
    }
    assert_ne!(severity(&findings, "kernel_features"), "error", "{findings:?}");
    let looked: Vec<_> =
        CHECKS.iter().filter(|check| findings.iter().all(|f| f["check"] != check.name)).collect();
    let may_be_left_out = ["kvm_runs", "firewall"];
    assert!(looked.iter().all(|check| may_be_left_out.contains(&check.name)), "not looked at: {looked:?}");
    assert_eq!(fs::read_dir(dir.path().join("state")).unwrap().count(), 0, "something was left");
}

#[test]
fn a_firewall_that_drops_is_named_until_it_knows_the_bridge() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "{accel: tcg}");
    let docker = "nft add table ip filter; nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'; \
                  nft add chain ip filter DOCKER-USER; echo 1 >/proc/sys/net/ipv4/ip_forward";
    let (_, findings) = doctor_after(docker, dir.path(), &config);
    let of = |check| findings.iter().find(|finding| finding["check"] == check).unwrap();
    assert_eq!(of("firewall")["severity"], "warning");
    assert!(
        of("firewall")["advice"].as_str().unwrap().contains("DOCKER-USER -i fireactions0"),
        "{findings:?}"
    );
    assert_eq!(severity(&findings, "ip_forward"), "ok");

    let told = format!("{docker}; nft insert rule ip filter FORWARD iifname fireactions0 accept");
    let (_, findings) = doctor_after(&told, dir.path(), &config);
    assert_eq!(severity(&findings, "firewall"), "ok", "{findings:?}");
}

#[test]
fn what_the_configured_driver_needs_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let vmm = "{driver: firecracker, firecracker_binary: no-such-firecracker, jailer_binary: no-such-jailer}";
    let (code, findings) = doctor(dir.path(), &config(dir.path(), vmm));
    assert_eq!((code, severity(&findings, "firecracker")), (2, "error"), "{findings:?}");
    assert_eq!(severity(&findings, "qemu"), "ok", "{findings:?}");
}

#[test]
fn a_configuration_with_a_mistake_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (code, findings) = doctor(dir.path(), "pools: 7\nbridge: x\n");
    assert_eq!((code, findings.len(), severity(&findings, "config")), (2, 1, "error"));
    assert!(findings[0]["advice"].as_str().unwrap().starts_with("`fireactions validate "));
}

/// The probe in a mount namespace where the shell script `before` has run.
fn probe(before: &str) -> Output {
    let script = format!("set -e; {before}; exec timeout --signal KILL 60 \"$0\" doctor --probe-kvm");
    let args = ["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_fireactions")];
    Command::new("unshare").args(args).output().expect("unshare (util-linux) is needed")
}

#[test]
fn kvm_is_tried_by_a_guest() {
    let test = "kvm_is_tried_by_a_guest";
    let output = probe("true");
    let why = String::from_utf8(output.stderr).unwrap();
    if output.status.success() {
        let ran: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(ran["us"].as_u64().unwrap() > 0 && ran["instructions"] == 1_000_000, "{ran}");
    } else {
        skip::say(
            skip::Kind::Kvm,
            test,
            &format!("no guest runs under this host's KVM: {}; {why}", output.status),
        );
    }
}

/// It may hang where KVM does, which is why the doctor starts it apart; what is no KVM at all it names.
#[test]
fn what_is_no_kvm_is_named() {
    let absent = "mount -t tmpfs none /dev";
    let another = "mount -t tmpfs none /mnt; cp -a /dev/null /mnt/null; cp -a /dev/null /mnt/kvm; mount --move /mnt /dev";
    for (before, expected) in [
        (absent, "/dev/kvm cannot be opened: No such file or directory (os error 2)\n"),
        (another, "/dev/kvm has version -1 of its interface, not 12\n"),
    ] {
        let output = probe(before);
        let why = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), why.as_str()), (Some(1), expected));
        assert!(output.stdout.is_empty());
    }
    // And the doctor passes it on.
    let dir = tempfile::tempdir().unwrap();
    for (accel, expected) in [("kvm", "error"), ("tcg", "ok")] {
        let config = config(dir.path(), &format!("{{accel: {accel}}}"));
        let (_, findings) = doctor_after(another, dir.path(), &config);
        let found = findings.iter().find(|finding| finding["check"] == "kvm_runs").unwrap();
        assert_eq!(found["severity"], expected, "{found}");
        let words = "no guest runs: /dev/kvm has version -1";
        assert!(found["found"].as_str().unwrap().starts_with(words), "{found}");
    }
}
