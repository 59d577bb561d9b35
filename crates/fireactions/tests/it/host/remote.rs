//! `fireactions doctor --remote`, and the script that collects what it judges.

use std::process::Command;

use fireactions_fleet::age;
use fireactions_testkit::sshd::{Looks, Sshd};
use serde_json::Value;

use super::fleet::{Fleet, Ran, project};

fn doctor(fleet: &Fleet, host: &Sshd, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fireactions"));
    command.current_dir(fleet.path("")).env("NO_COLOR", "1").args(["doctor", "--remote"]).args(args);
    for option in host.options() {
        command.arg("--ssh-option").arg(option);
    }
    command.output().unwrap().into()
}

/// The script by itself, with the `ssh` that finds this host.
fn script(host: &Sshd, args: &[&str]) -> Ran {
    let path = format!("{}:{}", host.ssh_in_path().display(), std::env::var("PATH").unwrap());
    Command::new("sh")
        .arg(project("scripts/check-prerequisites.sh"))
        .args(args)
        .env("PATH", path)
        .output()
        .unwrap()
        .into()
}

#[test]
fn a_host_is_looked_at_and_judged_the_same_by_both() {
    let fleet = Fleet::new();
    for (looks, error) in [
        (Looks::default(), None),
        (Looks { mem_mib: 700, ..Looks::default() }, Some("memory")),
        (Looks { disks: &[("vda", 8)], ..Looks::default() }, Some("disk")),
        (Looks { forced: Some("echo Welcome"), ..Looks::default() }, Some("ssh")),
    ] {
        let host = Sshd::start(&looks);
        let ran = doctor(&fleet, &host, &[host.address(), "--json"]);
        let report: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        let findings = report["findings"].as_array().unwrap();
        let errors: Vec<&str> = findings
            .iter()
            .filter(|finding| finding["severity"] == "error")
            .map(|finding| finding["check"].as_str().unwrap())
            .collect();
        assert_eq!(errors, error.as_slice(), "{report:#}");
        assert_eq!(ran.code == 2, error.is_some(), "{ran:?}");
        assert!(findings.iter().all(|finding| finding["group"] == "remote"));

        let said = script(&host, &["--remote", host.address()]);
        assert_eq!(said.code, i32::from(error.is_some()), "{said:?}");
        let verdicts = |check: &str| {
            let line = said.out.lines().find(|line| line.split_whitespace().next() == Some(check));
            line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("-").to_owned()
        };
        for finding in findings {
            let check = finding["check"].as_str().unwrap();
            assert_eq!(finding["severity"], verdicts(check), "{check}: {}", said.out);
        }
    }
}

#[test]
fn facts_are_lines_for_programs() {
    let host = Sshd::start(&Looks { mem_mib: 3000, ..Looks::default() });
    let said = script(&host, &["--remote", host.address(), "--facts"]);
    assert_eq!(said.code, 0);
    for line in ["ssh=yes", "mem_mib=3000", "disks=sda:80,sdb:500", "disk_gib=500", "root=yes", "end=1"] {
        assert!(said.out.lines().any(|its| its == line), "{line}: {}", said.out);
    }
    let all = script(&host, &["--all", host.address(), "--facts"]);
    assert!(all.out.contains("\nage_key=") && all.out.contains("mem_mib=3000\n"), "{all:?}");
    assert!(script(&host, &["-h"]).out.contains("--all IP"));
    for wrong in [&["--remote"][..], &["--remote", "-x"], &["--frobnicate"]] {
        assert_eq!(script(&host, wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_table_says_what_to_do_and_names_are_those_of_the_registry() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks { mem_mib: 1000, ..Looks::default() }));
    assert_eq!(fleet.run(&["register", "tower", host.address()]).code, 0);
    let ran = doctor(&fleet, &host, &["tower"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("  memory          warning  1000 MiB\n"), "{}", ran.out);
    assert!(ran.out.contains("→ use a host with 2 GiB of memory or more\n"), "{}", ran.out);
    let shown = fleet
        .command(&["show", "tower", "--age-key"])
        .args(host.options().iter().flat_map(|option| ["--ssh-option", option]))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(shown.stdout).unwrap(),
        format!("{}\n", age::recipient(&host.host_key()).unwrap())
    );
}

#[test]
fn another_host_key_than_the_known_one_is_an_error() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    assert_ne!(doctor(&fleet, &host, &[host.address()]).code, 2);
    // Known from now on, and then another one: this machine's key of before.
    let known = std::fs::read_to_string(host.path("known")).unwrap();
    let other = std::fs::read_to_string(host.path("key.pub")).unwrap();
    let place = known.split_whitespace().next().unwrap();
    std::fs::write(host.path("known"), format!("{place} {other}")).unwrap();
    let ran = doctor(&fleet, &host, &[host.address()]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.out.contains("Host key verification failed") && ran.out.contains("`ssh-keygen -R HOST`"),
        "{}",
        ran.out
    );
    // What is about to be erased has another key each time.
    assert_eq!(fleet.deploy(&host, &["-y", "-n", "a"]).code, 0);
}

#[test]
fn any_posix_shell_runs_the_script() {
    let facts = |shell: &[&str]| {
        let script = project("scripts/check-prerequisites.sh");
        let said = Command::new(shell[0])
            .args(&shell[1..])
            .arg(script)
            .args(["--facts", "--here"])
            .output()
            .unwrap();
        assert!(said.status.success() && said.stderr.is_empty(), "{shell:?}: {said:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    assert_eq!(facts(&["busybox", "sh"]), facts(&["sh"]));
    assert_eq!(facts(&["bash", "--posix"]), facts(&["sh"]));
}
