//! Deployments that succeed, are refused, or fail.

use std::io::Write as _;
use std::process::Stdio;

use fireactions_fleet::age;
use fireactions_testkit::sshd::{Looks, NEW_PORT, PASSWORD, PORT, Sshd};

use super::fleet::{Fleet, Ran, TAGS, ended, project};

#[test]
fn a_host_is_erased_when_told_so_and_registered_when_done() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    let before = "{\n  \"old\": {\"hostname\": \"10.9.9.9\", \"provider\": \"colo\", \"tags\": [\"x\"], \"rack\": 7}\n}\n";
    fleet.write_registry(before);
    let mut asked = fleet
        .deployment(&host, &["-p", "hetzner", "-n", "runner-1", "-t", "prod,runners,large", "-a", "x86_64"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    asked.stdin.take().unwrap().write_all(b"y\n").unwrap();
    let Ran { code, out, err } = ended(asked);
    assert_eq!(code, 0, "{out}{err}{}", host.log());

    // It says what will be lost before it asks, and what to do next at the end.
    for line in [
        "ERASED:     /dev/sda (80 GiB), with everything on it",
        "left alone: /dev/sdb (500 GiB)",
        "tags:       prod, runners, large",
        "logs in:    root, with key (ssh-ed25519)",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(err.contains(&format!("Erase /dev/sda of {} and install NixOS? [y/N]", host.address())), "{err}");
    assert!(out.contains(&age::recipient(&host.host_key()).unwrap()), "{out}");
    assert!(out.contains("colmena apply --on runner-1\n"), "{out}");

    let mut told = ["--flake", ".#fireactions-node", "--target-host"].map(str::to_owned).to_vec();
    told.push(format!("root@{}", host.address()));
    told.extend(["--build-on", "remote", "--option", "accept-flake-config", "true"].map(str::to_owned));
    told.push("--extra-files".to_owned());
    let mut said = fleet.told();
    let files = said.remove(told.len());
    assert!(!std::path::Path::new(&files).exists(), "{files} is left");
    for option in host.options().into_iter().filter(|option| !option.starts_with("Port=")) {
        told.extend(["--ssh-option".to_owned(), option]);
    }
    for option in ["--ssh-port", "--post-kexec-ssh-port"] {
        told.extend([option.to_owned(), PORT.to_string()]);
    }
    told.push("SSHPASS is not set".to_owned());
    assert_eq!(said, told);
    let key = std::fs::read_to_string(host.path("key.pub")).unwrap();
    assert_eq!(fleet.read("new/root/.ssh/authorized_keys"), key);

    let entry = &fleet.registry()["runner-1"];
    assert_eq!(entry["hostname"], host.address());
    assert_eq!((&entry["provider"], &entry["system"]), (&"hetzner".into(), &"x86_64-linux".into()));
    assert_eq!(entry["tags"], serde_json::json!(["prod", "runners", "large"]));
    let deployed = entry["deployed"].as_str().unwrap();
    assert!(deployed.ends_with("+00:00") && deployed.parse::<jiff::Timestamp>().is_ok(), "{deployed}");
    assert!(fleet.read("hosts/registry.json").starts_with(before.trim_end().trim_end_matches(['}', '\n'])));
    assert_eq!(fleet.files(), ["registry.json"], "nothing is left beside it");

    // Deployed again, it keeps what people wrote about it, and its tags.
    let text = fleet
        .read("hosts/registry.json")
        .replace("\"tags\": [\n      \"prod\"", "\"rack\": 9,\n    \"tags\": [\n      \"prod\"");
    fleet.write_registry(&text);
    let again = fleet.deploy(&host, &["-p", "hetzner", "-n", "runner-1", "--yes"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.out.contains("'runner-1' is there already"), "{again:?}");
    let entry = &fleet.registry()["runner-1"];
    assert_eq!(
        (&entry["rack"], &entry["tags"]),
        (&9.into(), &serde_json::json!(["prod", "runners", "large"]))
    );
}

#[test]
fn nothing_happens_without_a_yes() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    for (answer, said) in [
        ("", "nobody answered"),
        ("n\n", "the answer was no"),
        ("\n", "the answer was no"),
        ("yeah\n", "the answer was no"),
    ] {
        let mut asked = fleet
            .deployment(&host, &["-n", "a"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        asked.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let ran = ended(asked);
        assert_eq!(ran.code, 1);
        assert!(
            ran.err.contains(&format!("error: {said}: nothing was changed\n  → --yes answers")),
            "{answer:?}: {ran:?}"
        );
    }
    assert!(!fleet.path("told").exists() && fleet.files().is_empty());
}

#[test]
fn a_failed_installation_is_not_registered() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    let text = "{ \"b\": {\"hostname\": \"10.0.0.1\"} }";
    fleet.write_registry(text);
    std::fs::write(fleet.path("code"), "7").unwrap();
    let ran = fleet.deploy(&host, &["-y", "-n", "a"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("failed (exit status: 7)\n  → the registry is as it was"), "{ran:?}");
    assert_eq!(fleet.read("hosts/registry.json"), text);

    let mut command = fleet.command(&["deploy", "-y", "-n", "a", host.address()]);
    for option in host.options() {
        command.arg("--ssh-option").arg(option);
    }
    command.arg("--authorized-keys").arg(host.path("key.pub"));
    let ran: Ran = command.env("FIREACTIONS_NIXOS_ANYWHERE", "/nonexistent/it").output().unwrap().into();
    assert!(ran.code == 1 && ran.err.contains("/nonexistent/it cannot be started"), "{ran:?}");
    assert_eq!(fleet.read("hosts/registry.json"), text);
}

/// Nobody erases a host into one that lets nobody in.
#[test]
fn without_a_key_nothing_is_erased() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    let nobody = |args: &[&str]| -> Ran { fleet.deployment_by_nobody(&host, args).output().unwrap().into() };
    let ran = nobody(&["-n", "a", "-y"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains("afterwards: there is no public key\n  → name a file with --authorized-keys FILE"),
        "{ran:?}"
    );
    let empty = fleet.path("empty");
    std::fs::write(&empty, "# none\n").unwrap();
    let ran = nobody(&["-n", "a", "-y", "--authorized-keys", empty.to_str().unwrap()]);
    assert!(ran.code == 1 && ran.err.contains("has no public key"), "{ran:?}");
    assert!(!fleet.path("told").exists() && fleet.files().is_empty());

    // The operator's own key, as every program of OpenSSH takes it.
    std::fs::create_dir(fleet.path(".ssh")).unwrap();
    std::fs::copy(host.path("key.pub"), fleet.path(".ssh/id_ed25519.pub")).unwrap();
    let ran = nobody(&["-n", "a", "-y", "--post-kexec-ssh-port", &PORT.to_string()]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        fleet.read("new/root/.ssh/authorized_keys"),
        std::fs::read_to_string(host.path("key.pub")).unwrap()
    );
}

/// The port of the system that is erased is not the new one's: nixos-anywhere is told so, and the host is asked for its key there.
#[test]
fn another_port_is_for_what_runs_now_alone() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    let new = host.installed();
    let port = NEW_PORT.to_string();
    let mut command = fleet.deployment_by_nobody(&host, &["-n", "a", "-y", "--post-kexec-ssh-port", &port]);
    // Of two, ssh takes the first.
    command.args(["--ssh-option", "port 1"]);
    command.arg("--authorized-keys").arg(host.path("key.pub"));
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = fleet.told().join(" ");
    assert!(told.contains(&format!(" --ssh-port {PORT} --post-kexec-ssh-port {port} ")), "{told}");
    assert!(!told.to_lowercase().contains("port=") && !told.contains("port 1"), "{told}");
    assert!(ran.out.contains(&age::recipient(&new.host_key()).unwrap()), "{ran:?}");
}

#[test]
fn what_the_host_is_decides() {
    let fleet = Fleet::new();
    let small = Sshd::start(&Looks { mem_mib: 981, disks: &[("vda", 25)], ..Looks::default() });
    let refused = |host: &Sshd, args: &[&str], words: &str| {
        let ran = fleet.deploy(host, &[args, &["-y"]].concat());
        assert!(ran.code == 1 && ran.err.contains(words), "{args:?}: {ran:?}");
    };
    refused(
        &small,
        &["-p", "do"],
        "the droplet has 981 MiB of memory, and an installation takes a droplet of 2 GB or more\n  → resize",
    );
    refused(
        &small,
        &["-p", "nvme"],
        "the host has no /dev/nvme0n1, where provider 'nvme' installs: it has vda (25 GiB)",
    );
    refused(
        &small,
        &["-a", "aarch64"],
        "the host is x86_64, and aarch64 was asked for\n  → use --arch x86_64",
    );
    let tiny = Sshd::start(&Looks { mem_mib: 500, ..Looks::default() });
    refused(&tiny, &[], "memory: 500 MiB\n  → use a host with 2 GiB of memory or more");
    let here = Sshd::start(&Looks { elsewhere: false, ..Looks::default() });
    refused(&here, &[], "is the machine that you work on: it would be erased");
    let strange = Sshd::start(&Looks { forced: Some("echo Hello"), ..Looks::default() });
    refused(&strange, &[], "does not say what it is: no reason given\n  → the host needs a POSIX shell");
    assert!(!fleet.path("told").exists() && fleet.files().is_empty());

    // One that is large enough, recognized by its disk, under the name that follows from its address.
    let nvme = Sshd::start(&Looks {
        mem_mib: 64 << 10,
        disks: &[("nvme0n1", 512), ("nvme1n1", 4000)],
        ..Looks::default()
    });
    let ran = fleet.deploy(&nvme, &["-p", "auto", "--yes", "--no-kexec"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let name = format!("host-{}", nvme.address().rsplit('.').next().unwrap());
    assert_eq!(fleet.registry()[&name]["provider"], "nvme");
    let told = fleet.told().join(" ");
    assert!(
        told.contains(".#fireactions-node-nvme ") && told.contains("--phases disko,install,reboot"),
        "{told}"
    );
    assert!(
        told.contains("--generate-hardware-config nixos-generate-config ./hardware-configuration.nix"),
        "{told}"
    );
}

#[test]
fn a_password_comes_from_the_environment_and_goes_nowhere_else() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    let ran = fleet.deploy(&host, &["--env-password", "-n", "a", "-y"]);
    assert!(ran.code == 1 && ran.err.contains("there is no SSHPASS in the environment"), "{ran:?}");
    std::fs::remove_file(host.path("authorized")).unwrap();
    let ran = fleet.deploy(&host, &["-n", "a", "-y"]);
    assert!(
        ran.code == 1 && ran.err.contains("Permission denied") && ran.err.contains("--env-password"),
        "{ran:?}"
    );
    let with = |password: &str| -> Ran {
        fleet
            .deployment(&host, &["--env-password", "-n", "a", "-y"])
            .env("SSHPASS", password)
            .output()
            .unwrap()
            .into()
    };
    let ran = with("wrong horse");
    assert!(ran.code == 1 && ran.err.contains("Permission denied") && !ran.err.contains("horse"), "{ran:?}");
    assert!(!fleet.path("told").exists());
    let ran = with(PASSWORD);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = fleet.told();
    let (last, arguments) = told.split_last().unwrap();
    assert_eq!(last, &format!("SSHPASS is {PASSWORD}"));
    assert!(
        arguments.contains(&"--env-password".to_owned()) && !arguments.join(" ").contains("horse"),
        "{told:?}"
    );
    assert!(!format!("{}{}{}", ran.out, ran.err, fleet.read("hosts/registry.json")).contains("horse"));
    // The host's key is shown to those who cannot log in, too.
    assert!(ran.out.contains("its age key is  age1"), "{ran:?}");
}

#[test]
fn the_command_line_of_before() {
    let (fleet, host) = (Fleet::new(), Sshd::start(&Looks::default()));
    std::fs::create_dir(fleet.path("deploy")).unwrap();
    std::fs::copy(project("deploy/deploy.sh"), fleet.path("deploy/deploy.sh")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_fireactions"), fleet.path("bin/fireactions")).unwrap();
    let script = |args: &[&str]| -> Ran {
        // From another directory, as a deployment from anywhere.
        let mut command = std::process::Command::new("sh");
        command.arg(fleet.path("deploy/deploy.sh")).args(args).current_dir("/").stdin(Stdio::null());
        let path = format!(
            "{}:{}:{}",
            fleet.path("bin").display(),
            host.ssh_in_path().display(),
            std::env::var("PATH").unwrap()
        );
        command
            .env("HOME", fleet.path("."))
            .env("PATH", path)
            .env("FIREACTIONS_NIXOS_ANYWHERE", fleet.path("bin/nixos-anywhere"));
        command.output().unwrap().into()
    };
    let ran = script(&[
        "--provider",
        "hetzner",
        "--name",
        "old-1",
        "--tags",
        TAGS[0],
        "--arch",
        "x86_64",
        "--user",
        "root",
        "--yes",
        "--authorized-keys",
        host.path("key.pub").to_str().unwrap(),
        host.address(),
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = script(&["list"]);
    let line = format!("old-1  {}", host.address());
    assert!(
        ran.out.starts_with("NAME ") && ran.out.contains(&line) && ran.out.contains("hetzner"),
        "{ran:?}"
    );
    assert_eq!(script(&["unregister", "old-1"]).code, 0);
    let ran = script(&["unregister", "old-1"]);
    assert!(ran.code == 1 && ran.err.contains("there is no host 'old-1' in the registry"), "{ran:?}");
    assert!(script(&["--help"]).out.contains("--no-kexec"));
    assert_eq!(script(&[]).code, 2, "an address is needed");
}
