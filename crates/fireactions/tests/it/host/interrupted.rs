//! What becomes of the registry when a command does not come to its end, or is not alone.

use std::process::{Child, Stdio};

use fireactions_testkit::sshd::{Looks, Sshd};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::fleet::{Fleet, ended};

fn pid(number: &str) -> Pid {
    Pid::from_raw(number.trim().parse().unwrap()).unwrap()
}

fn begin(fleet: &Fleet, host: &Sshd, args: &[&str]) -> Child {
    fleet.deployment(host, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn an_interrupt_ends_the_installation_and_leaves_the_registry() {
    let host = Sshd::start(&Looks::default());
    for signal in [Signal::INT, Signal::TERM] {
        let fleet = Fleet::new();
        fleet.write_registry("{\"b\": {\"hostname\": \"10.0.0.1\"}}");
        fleet.hold();
        let deployment = begin(&fleet, &host, &["-y", "-n", "a"]);
        fleet.told();
        kill_process(pid(&deployment.id().to_string()), signal).unwrap();
        let ran = ended(deployment);
        assert_eq!(ran.code, 130, "{ran:?}");
        assert!(ran.err.contains("stopped: the registry is as it was"), "{ran:?}");
        assert_eq!(fleet.read("hosts/registry.json"), "{\"b\": {\"hostname\": \"10.0.0.1\"}}");
        assert_eq!(fleet.files(), ["registry.json"]);
        assert!(test_kill_process(pid(&fleet.read("pid"))).is_err(), "the installation goes on");
    }
}

#[test]
fn a_host_is_deployed_to_by_one_at_a_time() {
    let (fleet, host, other) = (Fleet::new(), Sshd::start(&Looks::default()), Sshd::start(&Looks::default()));
    fleet.hold();
    let first = begin(&fleet, &host, &["-y", "-n", "a"]);
    fleet.told();
    let ran = fleet.deploy(&host, &["-y", "-n", "b"]);
    assert_eq!(ran.code, 1);
    let words = format!("another deployment to {} runs: ", host.address());
    assert!(
        ran.err.contains(&words) && ran.err.contains(&format!("is held by process {}", first.id())),
        "{ran:?}"
    );

    // Another host at the same time is fine; both are in the registry in the end, and so is one that came in between.
    std::fs::remove_file(fleet.path("told")).unwrap();
    let second = begin(&fleet, &other, &["-y", "-n", "c"]);
    fleet.told();
    assert_eq!(fleet.run(&["register", "d", "10.0.0.4"]).code, 0);
    fleet.let_go();
    for deployment in [first, second] {
        let ran = ended(deployment);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let registry = fleet.registry();
    let mut names: Vec<&String> = registry.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["a", "c", "d"]);
    assert_eq!(fleet.files(), ["registry.json"]);
}

#[test]
fn a_name_that_was_taken_meanwhile_is_not_taken_away() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    fleet.hold();
    let deployment = begin(&fleet, &host, &["-y", "-n", "a"]);
    fleet.told();
    // While it was installed, somebody has registered its address by hand.
    assert_eq!(fleet.run(&["register", "by-hand", host.address()]).code, 0);
    fleet.let_go();
    let ran = ended(deployment);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("NixOS is installed on") && ran.err.contains("is the address of host 'by-hand'"),
        "{ran:?}"
    );
    assert_eq!(fleet.registry().as_object().unwrap().len(), 1);
}

/// Old or new, never half; and whoever comes next is not held up by what is left.
#[cfg(feature = "failpoints")]
#[test]
fn killed_in_the_middle_of_a_write_the_registry_is_whole() {
    let fleet = Fleet::new();
    assert_eq!(fleet.run(&["register", "a", "10.0.0.1"]).code, 0);
    let old = fleet.read("hosts/registry.json");
    for (point, written) in [
        ("fleet::registry-half-written", false),
        ("fleet::registry-written", false),
        ("fleet::registry-renamed", true),
    ] {
        fleet.write_registry(&old);
        let killed =
            fleet.command(&["register", "b", "10.0.0.2"]).env("FIREACTIONS_KILL_AT", point).status().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&killed),
            Some(9),
            "{point} was not reached"
        );
        let now = fleet.read("hosts/registry.json");
        assert_eq!(now != old, written, "{point}: {now}");
        assert_eq!(fleet.registry().as_object().unwrap().len(), if written { 2 } else { 1 }, "{point}");
        let ran = fleet.run(&["register", "c", "10.0.0.3"]);
        assert_eq!(ran.code, 0, "it does not wait for a lock that a dead process had: {point}: {ran:?}");
        assert!(
            fleet.registry()["c"].is_object() && fleet.files() == ["registry.json"],
            "{point}: {:?}",
            fleet.files()
        );
    }
}
