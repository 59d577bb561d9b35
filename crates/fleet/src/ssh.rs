//! Another host by the program `ssh`: so whatever the operator's configuration, agent and keys allow works here too.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::ask::{self, Answer};
use crate::facts::Facts;
use crate::host::Address;

/// What is sent to the host, and what both the script and this program judge by.
pub(crate) const SCRIPT: &str = include_str!("../../../scripts/check-prerequisites.sh");

/// For a connection, a login and some small files.
const DEADLINE: Duration = Duration::from_secs(60);

/// What `ssh` exits with when it did not get as far as running something.
const SSH_FAILED: i32 = 255;

/// Why a host could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshError {
    /// No connection, no login, or another host than the known one.
    #[error("{at} cannot be reached by SSH: {why}")]
    Unreachable {
        /// USER@HOST.
        at: String,
        /// What `ssh` said.
        why: String,
    },
    /// Logged in, and the answer is none.
    #[error("{at} does not say what it is: {why}")]
    NoAnswer {
        /// USER@HOST.
        at: String,
        /// What it said instead.
        why: String,
    },
    /// This side's part.
    #[error("ssh cannot be prepared: {0}")]
    Here(String),
}

impl SshError {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable { why, .. } if why.contains("Permission denied") => {
                "let your key log in (`ssh-copy-id USER@HOST`), or give a password with --env-password"
            }
            Self::Unreachable { why, .. }
                if why.contains("verification failed") || why.contains("IDENTIFICATION HAS CHANGED") =>
            {
                "the host's key is not the one that you know: if it was installed anew, `ssh-keygen -R HOST`"
            }
            Self::Unreachable { .. } => "see that the host is on, and that its address and port are right",
            Self::NoAnswer { .. } => "the host needs a POSIX shell for this user",
            Self::Here(_) => {
                "install the OpenSSH client, and see that the directory for temporary files can be written"
            }
        }
    }
}

/// How a host is reached.
#[derive(Debug)]
pub struct Ssh {
    user: String,
    address: Address,
    options: Vec<String>,
    password: bool,
    /// Our own files: known hosts, and the program that says the password.
    temp: TempDir,
    /// The host's key is not kept: it will have another one soon.
    forgetful: bool,
}

impl Ssh {
    /// `options` are `KEY=VALUE` as after `ssh -o`; with `password`, the one in the environment's `SSHPASS` is used.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn new(user: &str, address: &Address, options: &[String], password: bool) -> Result<Self, SshError> {
        let temp = tempfile::tempdir().map_err(|error| SshError::Here(error.to_string()))?;
        let (user, address, options) = (user.to_owned(), address.clone(), options.to_vec());
        Ok(Self { user, address, options, password, temp, forgetful: false })
    }

    /// Takes any key of the host, and does not keep it: for a host that is about to be installed anew.
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self { forgetful: true, ..self }
    }

    /// USER@HOST.
    pub fn at(&self) -> String {
        format!("{}@{}", self.user, self.address)
    }

    /// Asks the host what it is.
    ///
    /// # Errors
    /// When it cannot be reached, or does not say it.
    pub async fn facts(&self) -> Result<Facts, SshError> {
        let answer = self.run(&[], &["sh", "-s", "--", "--facts", "--here"], SCRIPT).await?;
        match Facts::parse(&answer.stdout) {
            Some(facts) if answer.status.success() => Ok(facts.with("ssh", "yes")),
            _ => Err(SshError::NoAnswer { at: self.at(), why: last_line(&answer) }),
        }
    }

    /// What the user who logs in has in `~/.ssh/authorized_keys`; empty when there is no such file.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn authorized_keys(&self) -> Result<String, SshError> {
        let cat = "cat ~/.ssh/authorized_keys 2>/dev/null || true";
        Ok(self.run(&[], &["sh", "-c", &format!("'{cat}'")], "").await?.stdout)
    }

    /// The host's ed25519 key, `ssh-ed25519 BASE64`. The host shows it before anybody logs in, so no login is needed.
    ///
    /// # Errors
    /// When it cannot be reached, or has no such key.
    pub async fn host_key(&self) -> Result<String, SshError> {
        let file = self.temp.path().join("host-key");
        let _ = std::fs::remove_file(&file);
        let known = format!("UserKnownHostsFile={}", file.display());
        let options = [
            &known,
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=accept-new",
            "HostKeyAlgorithms=ssh-ed25519",
        ];
        let answer = self.run(&options, &["true"], "").await;
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let mut words = text.split_whitespace().skip_while(|word| *word != "ssh-ed25519");
        match (words.next(), words.next()) {
            (Some(kind), Some(key)) => Ok(format!("{kind} {key}")),
            _ => Err(answer.err().unwrap_or_else(|| SshError::NoAnswer {
                at: self.at(),
                why: "it showed no ed25519 host key".to_owned(),
            })),
        }
    }

    async fn run(&self, options: &[&str], command: &[&str], input: &str) -> Result<Answer, SshError> {
        let mut ssh = Command::new("ssh");
        ssh.env("LC_ALL", "C").arg("-T");
        let known = format!("UserKnownHostsFile={}", self.temp.path().join("known").display());
        let ours =
            ["ConnectTimeout=10", "HashKnownHosts=no", "LogLevel=ERROR", "StrictHostKeyChecking=accept-new"];
        let mut all = options.to_vec();
        if self.forgetful {
            all.extend([known.as_str(), "GlobalKnownHostsFile=/dev/null"]);
        }
        // Of two values for one option, ssh takes the first.
        all.extend(ours);
        if self.password {
            all.extend([
                "NumberOfPasswordPrompts=1",
                "PreferredAuthentications=publickey,password,keyboard-interactive",
            ]);
            ssh.env("SSH_ASKPASS", self.askpass()?).env("SSH_ASKPASS_REQUIRE", "force");
        } else {
            all.push("BatchMode=yes");
        }
        for option in all.into_iter().chain(self.options.iter().map(String::as_str)) {
            ssh.args(["-o", option]);
        }
        ssh.arg("--").arg(self.at()).args(command);
        let unreachable = |why| SshError::Unreachable { at: self.at(), why };
        let answer = ask::tell(ssh, input.as_bytes(), DEADLINE).await.map_err(unreachable)?;
        if answer.status.code() == Some(SSH_FAILED) {
            return Err(unreachable(last_line(&answer)));
        }
        Ok(answer)
    }

    /// A program that says the password, which stays in the environment.
    fn askpass(&self) -> Result<PathBuf, SshError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.temp.path().join("askpass");
        if !path.exists() {
            let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(&path);
            made.and_then(|mut file| file.write_all(b"#!/bin/sh\nprintf '%s\\n' \"$SSHPASS\"\n"))
                .map_err(|error| SshError::Here(error.to_string()))?;
        }
        Ok(path)
    }
}

/// `ssh` says at the end why it gave up.
fn last_line(answer: &Answer) -> String {
    let last = answer.stderr.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.unwrap_or("no reason given").chars().filter(|c| !c.is_control()).take(200).collect()
}
