//! Checks of a host. Each looks at one thing, changes nothing, and says what to do about what it found.

mod cgroup;
mod checks;
mod clock;
mod containers;
mod cpu;
mod demand;
mod disk;
mod features;
mod firecracker;
mod firewall;
mod host;
mod kconfig;
mod kernel;
mod kvm;
mod limits;
mod look;
mod network;
mod programs;
mod registry_cache;
mod vmm;

use std::path::{Path, PathBuf};

use fireactions_config::Config;
use serde::Serialize;

use checks::CONFIG;
pub use checks::{CHECKS, Check, Group};
use demand::Demand;
pub use registry_cache::{cache_program, proxy_missing, proxy_program};

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
    /// What it is about.
    pub group: Group,
    /// What was looked at: the name of one of the [`CHECKS`], or of a rule of [`crate::prerequisites`].
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found. One line.
    pub found: String,
    /// What to do; never absent when it is not ok.
    pub advice: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &Check, found: impl Into<String>) -> Self {
        Self::new(check, Severity::Ok, found.into(), None)
    }

    /// Works, but worse than it could.
    pub fn warning(check: &Check, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Severity::Warning, found.into(), Some(advice.into()))
    }

    /// The server, or a part of it, will not work.
    pub fn error(check: &Check, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Severity::Error, found.into(), Some(advice.into()))
    }

    fn new(check: &Check, severity: Severity, found: String, advice: Option<String>) -> Self {
        Self { group: check.group, check: check.name, severity, found, advice }
    }
}

/// Everything that was found, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One or more for each check that could be made, by group.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Nothing can be looked at for a configuration with mistakes in it.
    pub fn unusable(file: &Path, mistakes: usize) -> Self {
        let found = format!("{} cannot be used: {mistakes} mistake(s)", file.display());
        let advice = format!(
            "`fireactions validate {}` shows each of them, with what to write instead",
            file.display()
        );
        Self { findings: vec![Finding::error(&CONFIG, found, advice)] }
    }

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
    /// The file that it is from; `None`: there is none, and these are the defaults.
    pub file: Option<PathBuf>,
    /// The guest agent's binary.
    pub agent: PathBuf,
    /// This program, which is started as `PROGRAM doctor --probe-kvm` to do what may hang: it must then write what
    /// [`probe_kvm`] says.
    pub program: PathBuf,
}

/// Looks at everything. Each program that is asked has a deadline of its own; all in all it takes seconds, and up
/// to half a minute where `/dev/kvm` does not work.
pub async fn examine(subject: &Subject) -> Report {
    let config = &subject.config;
    let demand = Demand::of(config);
    let mut findings = vec![match &subject.file {
        Some(file) => Finding::ok(&CONFIG, file.display().to_string()),
        None => Finding::ok(&CONFIG, "no file: the defaults are checked"),
    }];
    findings.extend(host::all(&demand));
    findings.extend(cpu::all(&demand));
    // First of what takes time, and alone: it is timed.
    findings.extend(kvm::all(subject, &demand, firecracker::jailed(config)).await);
    findings.extend(firecracker::all(config).await);
    findings.extend([programs::qemu(config).await, vmm::accelerator(config).await]);
    findings.extend(kernels(subject).await);
    findings.extend(cgroup::all());
    findings.extend([programs::nft().await, programs::mke2fs().await]);
    findings.extend([programs::tar2sqfs().await, programs::zstd().await]);
    findings.extend(network::all(config, &demand).await);
    findings.push(registry_cache::look(&config.registry_cache));
    findings.extend(disk::all(config));
    findings.extend(clock::all());
    findings.extend(limits::all(&demand));
    let place = |finding: &Finding| CHECKS.iter().position(|check| check.name == finding.check);
    findings.sort_by_key(place);
    Report { findings }
}

async fn kernels(subject: &Subject) -> Vec<Finding> {
    let subject = subject.clone();
    let work = tokio::task::spawn_blocking(move || kernel::all(&subject.config, &subject.agent));
    // It is only lost when the program is ending.
    work.await.unwrap_or_default()
}

/// Runs a guest under KVM, in this process, and says in JSON what it did. May never return.
///
/// # Errors
///
/// In words, what KVM did not do.
pub fn probe_kvm() -> Result<String, String> {
    let ran = fireactions_probe::kvm::run()?;
    serde_json::to_string(&ran).map_err(|error| error.to_string())
}
