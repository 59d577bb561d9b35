//! Checks of a host. Each looks at one thing, changes nothing, and says what to do about what it found.

mod disk;
mod files;
mod host;
mod network;
mod programs;
mod vmm;

use std::path::PathBuf;

use fireactions_config::Config;
use serde::Serialize;

/// How bad a finding is; the order is from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, but worse than it could.
    Warning,
    /// The server, or a part of it, will not work.
    Error,
}

impl Severity {
    /// The name in JSON and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, e.g. `qemu`.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found. One line.
    pub found: String,
    /// What to do; never absent when it is not ok.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, severity: Severity::Ok, found: found.into(), advice: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, severity: Severity::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    fn error(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, severity: Severity::Error, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Everything that was found, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One or more for each check.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of them.
    pub fn worst(&self) -> Severity {
        self.findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok)
    }
}

/// What the checks look at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The configuration that the server would run with.
    pub config: Config,
    /// The guest agent's binary.
    pub agent: PathBuf,
}

/// Looks at everything. Each program that is asked has a deadline of its own; all in all it takes seconds, and up
/// to twenty where `/dev/kvm` does not work.
pub async fn examine(subject: &Subject) -> Report {
    let config = &subject.config;
    let mut findings = vec![host::root(), host::cgroup(), host::memory()];
    findings.extend(programs::all(config).await);
    findings.push(files::agent(&subject.agent));
    findings.extend(files::kernels(config));
    findings.push(vmm::accelerator(config).await);
    findings.push(network::tun());
    findings.push(network::forwarding(config));
    findings.push(network::tables(config).await);
    findings.push(disk::space(config));
    Report { findings }
}
