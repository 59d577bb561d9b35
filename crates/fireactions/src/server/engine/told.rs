//! What the server was told: its configuration, key by key, and whether this host is fit for it.

use std::path::PathBuf;

use fireactions_api::engine::Result;
use fireactions_api::{ConfigEntry, ConfigView, DoctorFinding, DoctorVerdict, Fault};
use fireactions_config::{Config, EffectiveKey};
use fireactions_fleet::doctor::{Finding, Severity, Subject, examine};

/// A configuration, and the file that it is from.
pub(in crate::server) struct Told {
    pub(in crate::server) config: Config,
    pub(in crate::server) file: PathBuf,
    pub(in crate::server) keys: Vec<EffectiveKey>,
}

impl Told {
    pub(super) fn config(&self) -> ConfigView {
        let entry = |key: &EffectiveKey| {
            let EffectiveKey { path, value, default, doc } = key.clone();
            ConfigEntry { path, value, default, doc }
        };
        ConfigView { entries: self.keys.iter().map(entry).collect() }
    }

    /// As `fireactions doctor` does, for the configuration that runs and not for what the file says by now.
    pub(super) async fn doctor(&self) -> Result<Vec<DoctorFinding>> {
        let program = std::env::current_exe().map_err(|error| {
            Fault::internal(format!("the server's own executable cannot be found: {error}"))
        })?;
        let agent = self.config.agent_beside(&program);
        let subject = Subject { config: self.config.clone(), file: Some(self.file.clone()), agent, program };
        Ok(examine(&subject).await.findings.into_iter().map(finding).collect())
    }
}

fn finding(found: Finding) -> DoctorFinding {
    let verdict = match found.severity {
        Severity::Ok => DoctorVerdict::Ok,
        Severity::Warning => DoctorVerdict::Warning,
        Severity::Error => DoctorVerdict::Error,
    };
    DoctorFinding {
        group: found.group.as_str().to_owned(),
        name: found.check.to_owned(),
        verdict,
        found: found.found,
        fix: found.advice,
    }
}
