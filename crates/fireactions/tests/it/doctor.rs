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

/// The same in namespaces of its own, where no server runs, once the shell script `before` has run there.
fn doctor_after(before: &str, dir: &Path, config: &str) -> (i32, Vec<Value>) {
    doctor_by(before, "", dir, config)
}

/// The same started by another program, which `by` names with its arguments.
fn doctor_by(before: &str, by: &str, dir: &Path, config: &str) -> (i32, Vec<Value>) {
    let file = dir.join("config.yaml");
    fs::write(&file, config).unwrap();
    let script = format!("set -e; {before}; exec {by} \"$0\" doctor --json --config \"$1\"");
    let namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let output = Command::new("unshare")
        .args(namespaces)
        .args(["bash", "-c", &script, env!("CARGO_BIN_EXE_fireactions")])
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

fn of<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("'{check}' was not looked at"))
}

fn severity<'a>(findings: &'a [Value], check: &str) -> &'a str {
    of(findings, check)["severity"].as_str().unwrap()
}

/// Each check says this, as bad as this, and advises this.
fn found(findings: &[Value], expected: &[(&str, &str, &str, &str)]) {
    for (check, severity, words, advice) in expected {
        let finding = of(findings, check);
        assert_eq!(finding["severity"], *severity, "{finding}");
        assert!(finding["found"].as_str().unwrap().contains(words), "'{words}' is missing: {finding}");
        assert!(
            finding["advice"].as_str().unwrap_or_default().contains(advice),
            "'{advice}' is missing: {finding}"
        );
    }
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
    found(&findings, &[("firewall", "warning", "", "DOCKER-USER -i fireactions0")]);
    assert_eq!(severity(&findings, "ip_forward"), "ok");

    let told = format!("{docker}; nft insert rule ip filter FORWARD iifname fireactions0 accept");
    let (_, findings) = doctor_after(&told, dir.path(), &config);
    assert_eq!(severity(&findings, "firewall"), "ok", "{findings:?}");
}

/// The host's own files say otherwise here: other files are mounted over them.
#[test]
fn a_host_that_merges_pages_swaps_and_has_small_limits_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "{accel: tcg}");
    let over = |path: &str, content: &str| {
        let file = dir.path().join(path.replace('/', "_"));
        fs::write(&file, content).unwrap();
        format!("[ ! -e {path} ] || mount --bind {} {path}", file.display())
    };
    let before = [
        over("/proc/swaps", "Filename Type Size Used Priority\n/dev/sdz9 partition 1 0 -2\n"),
        over("/proc/sys/kernel/pid_max", "100\n"),
        over("/proc/sys/vm/max_map_count", "1000\n"),
        over("/sys/kernel/mm/ksm/run", "1\n"),
        over("/sys/devices/system/cpu/smt/active", "1\n"),
        over("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n"),
        "ulimit -n 1024".to_owned(),
    ]
    .join("; ");
    let (_, findings) = doctor_after(&before, dir.path(), &config);
    found(
        &findings,
        &[
            ("swap", "warning", "in use: /dev/sdz9", "swapoff"),
            ("tasks", "warning", "pid_max 100,", "kernel.pid_max="),
            ("map_count", "warning", "vm.max_map_count is 1000", "vm.max_map_count="),
            (
                "open_files",
                "warning",
                "this process may have 1024, but 1 machines take up to 2064",
                "LimitNOFILE=65536",
            ),
        ],
    );
    // What not every kernel has.
    for (check, file, words, advice) in [
        ("ksm", "/sys/kernel/mm/ksm/run", "on: ", "ksm/run"),
        ("smt", "/sys/devices/system/cpu/smt/active", "on: ", "nosmt"),
    ] {
        if Path::new(file).exists() {
            found(&findings, &[(check, "warning", words, advice)]);
        }
    }
    let bridges = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if Path::new(bridges).exists() {
        found(&findings, &[("bridge_netfilter", "warning", "on: ", "bridge-nf-call-iptables=0")]);
    }

    let (_, findings) = doctor(dir.path(), &config);
    for check in ["tasks", "map_count", "open_files"] {
        assert_eq!(severity(&findings, check), "ok", "{}", of(&findings, check));
    }
}

/// A running server's limit counts, not that of whoever asks.
#[test]
fn the_open_files_of_a_running_server_are_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "{accel: tcg}");
    // By its name and command, as the doctor finds it.
    let server = "(ulimit -n 1024; exec -a /usr/bin/fireactions sh -c 'while :; do sleep 60; done' server >/dev/null) & \
                  until tr '\\0' ' ' </proc/$!/cmdline | grep -q ^/usr/bin/fireactions; do sleep 0.05; done";
    let (_, findings) = doctor_after(server, dir.path(), &config);
    found(&findings, &[("open_files", "warning", "the running server may have 1024", "LimitNOFILE=")]);
}

#[test]
fn a_server_that_may_not_change_the_network_is_told_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "{accel: tcg}");
    let (code, findings) = doctor_by("true", "setpriv --bounding-set -net_admin", dir.path(), &config);
    assert_eq!(code, 2);
    found(&findings, &[("conntrack_netlink", "error", "root may not ask the kernel here", "CAP_NET_ADMIN")]);
    let (_, findings) = doctor(dir.path(), &config);
    assert_eq!(severity(&findings, "conntrack_netlink"), "ok", "{}", of(&findings, "conntrack_netlink"));
}

#[test]
fn connections_of_all_machines_are_compared_with_the_hosts_table() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), "{accel: tcg}");
    let with = |connections: u32| {
        let network = format!("max_runners: 100, network: {{max_connections: {connections}}}");
        let (_, findings) = doctor_after(
            "nft add table ip t; nft 'add chain ip t c { type filter hook input priority 0; }'; \
            nft add rule ip t c ct state new accept",
            dir.path(),
            &config.replace("max_runners: 1", &network),
        );
        of(&findings, "conntrack").clone()
    };
    assert_eq!(with(1)["severity"], "ok");
    let many = with(1_000_000);
    assert!(
        many["severity"] == "warning" && many["found"].as_str().unwrap().contains("may have 100000000"),
        "{many}"
    );
    let any = with(0);
    assert!(
        any["severity"] == "warning" && any["found"].as_str().unwrap().contains("one machine of p"),
        "{any}"
    );
}

/// On file systems of its own.
#[test]
fn a_state_directory_that_is_full_split_or_fit_for_no_jail_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    fs::create_dir(&state).unwrap();
    let vmm = "{driver: firecracker, jailer: true}";
    let before = format!(
        "mount -t tmpfs -o size=64m,nr_inodes=1000,nodev,noexec none {0}; mkdir {0}/images; mount -t tmpfs none {0}/images",
        state.display()
    );
    let (code, findings) = doctor_after(&before, dir.path(), &config(dir.path(), vmm));
    assert_eq!(code, 2);
    found(
        &findings,
        &[
            ("disk", "error", "MiB free for", "image gc"),
            ("inodes", "warning", "free of 1000", "image gc"),
            ("reflink", "warning", "cannot share blocks", "XFS"),
            ("mount_options", "error", "mounted with nodev,noexec", "without these options"),
            ("hard_links", "warning", "on another file system than state_dir: images", "none below it"),
        ],
    );
}

/// Programs are looked for in `PATH` and in the system's directories, which are empty here.
#[test]
fn programs_that_are_not_there_are_named_with_their_package() {
    let dir = tempfile::tempdir().unwrap();
    let before = "mount -t tmpfs none /usr/sbin; mount -t tmpfs none /usr/local/sbin; [ -L /sbin ] || mount -t tmpfs none /sbin; \
                  export PATH=/nowhere";
    let (code, findings) = doctor_after(before, dir.path(), &config(dir.path(), "{accel: tcg}"));
    assert_eq!(code, 2);
    for check in ["tar2sqfs", "zstd", "mke2fs", "qemu"] {
        let finding = of(&findings, check);
        assert_eq!(finding["severity"], "error", "{finding}");
        assert!(finding["advice"].as_str().unwrap().contains("apt-get install"), "{finding}");
    }
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

#[test]
fn machines_and_engines_miss_nothing_in_the_custom_kernel() {
    let Some(kernel) = guest::custom_kernel("the doctor's look at the kernel of scripts/build-kernel") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for driver in ["qemu", "firecracker"] {
        let config = format!("vmm: {{driver: {driver}}}\nkernel: {{image: {}}}\n", kernel.display());
        let (_, findings) = doctor(dir.path(), &config);
        for check in ["kernel", "kernel_features", "kernel_containers"] {
            let finding = of(&findings, check);
            let found = finding["found"].as_str().unwrap();
            let is_whole = !["would miss", "cannot be seen"].iter().any(|words| found.contains(words));
            assert!(finding["severity"] == "ok" && is_whole, "{driver}: {finding}");
        }
    }
}
