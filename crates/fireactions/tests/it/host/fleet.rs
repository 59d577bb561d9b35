//! A flake's directory with hosts and profiles, the commands there, and the stand-in for nixos-anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fireactions_testkit::program;
use fireactions_testkit::sshd::{PORT, Sshd};
use tempfile::TempDir;

/// The tags of the profiles that come with the project.
pub(super) const TAGS: [&str; 11] = [
    "dev",
    "gitea-runners",
    "github-runners",
    "large",
    "medium",
    "prod",
    "queue",
    "registry-cache",
    "runners",
    "security-hardened",
    "small",
];

pub(super) struct Fleet {
    dir: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Fleet {
    pub(super) fn new() -> Self {
        let fleet = Self { dir: tempfile::tempdir().unwrap() };
        for dir in ["hosts", "profiles", "bin"] {
            fs::create_dir(fleet.path(dir)).unwrap();
        }
        fs::write(fleet.path("profiles/default.nix"), "").unwrap();
        for tag in TAGS {
            fs::write(fleet.path(&format!("profiles/{tag}.nix")), "").unwrap();
        }
        // What is copied into the new system is gone afterwards.
        let told = "#!/bin/sh\ncd \"${0%/*}/..\"\nlast=\n\
            for word; do [ \"$last\" != --extra-files ] || cp -a \"$word\" new; last=$word; done\n\
            { for word; do printf '%s\\n' \"$word\"; done; echo \"SSHPASS is ${SSHPASS:-not set}\"; } >told.$$\n\
            echo $$ >pid; mv told.$$ told\n\
            n=0; while [ -e hold ]; do sleep 0.02; n=$((n + 1)); [ $n -lt 2000 ] || exit 9; done\n\
            exit \"$(cat code 2>/dev/null || echo 0)\"\n";
        program::write(&fleet.installer(), told);
        fleet
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn installer(&self) -> PathBuf {
        self.path("bin/nixos-anywhere")
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fireactions"));
        command
            .current_dir(self.dir.path())
            .env_remove("SSHPASS")
            .env_remove("FIREACTIONS_FLAKE")
            // Its operator has no keys but those that a test gives.
            .env("HOME", self.dir.path())
            .env("NO_COLOR", "1");
        command.arg("host").args(args).stdin(Stdio::null());
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// `host deploy` to this host, with the stand-in, and the key that logs in there. It is the same host afterwards.
    pub(super) fn deployment(&self, host: &Sshd, args: &[&str]) -> Command {
        let mut command = self.deployment_by_nobody(host, args);
        command.args(["--post-kexec-ssh-port", &PORT.to_string()]);
        command.arg("--authorized-keys").arg(host.path("key.pub"));
        command
    }

    /// The same without the key: neither has the host one, nor its operator.
    pub(super) fn deployment_by_nobody(&self, host: &Sshd, args: &[&str]) -> Command {
        let mut command = self.command(&["deploy"]);
        command.arg("--nixos-anywhere").arg(self.installer());
        for option in host.options() {
            command.arg("--ssh-option").arg(option);
        }
        command.args(args).arg(host.address());
        command
    }

    pub(super) fn deploy(&self, host: &Sshd, args: &[&str]) -> Ran {
        self.deployment(host, args).output().unwrap().into()
    }

    /// The stand-in does not end before this is let go.
    pub(super) fn hold(&self) {
        fs::write(self.path("hold"), "").unwrap();
    }

    pub(super) fn let_go(&self) {
        fs::remove_file(self.path("hold")).unwrap();
    }

    /// What the stand-in was told; waits for it.
    pub(super) fn told(&self) -> Vec<String> {
        let begin = Instant::now();
        while !self.path("told").exists() {
            assert!(begin.elapsed() < Duration::from_secs(60), "nothing was installed");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.read("told").lines().map(str::to_owned).collect()
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Everything below hosts/.
    pub(super) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("hosts"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(super) fn registry(&self) -> serde_json::Value {
        serde_json::from_str(&self.read("hosts/registry.json")).unwrap()
    }

    pub(super) fn write_registry(&self, text: &str) {
        fs::write(self.path("hosts/registry.json"), text).unwrap();
    }
}

/// Waits for a process that was started with pipes.
pub(super) fn ended(child: Child) -> Ran {
    child.wait_with_output().unwrap().into()
}

/// The project's own file.
pub(super) fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}
