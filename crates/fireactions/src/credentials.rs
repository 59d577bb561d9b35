//! What systemd gives a service to keep secret.

use std::path::{Path, PathBuf};

use fireactions_config::SecretFile;

/// Where systemd has the credentials of each service. Root alone reads them.
const OF_SERVICES: &str = "/run/credentials";
/// The services that are this program.
const UNITS: [&str; 2] = ["fireactions.service", "fireteact.service"];

/// The directory with its credentials; none where it has none.
pub(crate) fn directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// The directory to take a secret from. For an operator who checks the configuration in a shell, that is the running service's.
pub(crate) fn directory_of(secret: &SecretFile) -> Option<PathBuf> {
    // A service (it has an invocation's id) takes nothing of another one.
    let operator = || std::env::var_os("INVOCATION_ID").is_none();
    directory().or_else(|| match secret {
        SecretFile::Credential(name) if operator() => of_running(Path::new(OF_SERVICES), name),
        _ => None,
    })
}

/// The credentials of the one service that has this one. Of two, nobody can tell whose is meant.
fn of_running(root: &Path, name: &str) -> Option<PathBuf> {
    let mut found = UNITS.iter().map(|unit| root.join(unit)).filter(|unit| unit.join(name).exists());
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_service_s_credential_is_found_if_it_is_the_only_one() {
        let root = tempfile::tempdir().unwrap();
        for (unit, name) in [(UNITS[0], "one"), (UNITS[0], "both"), (UNITS[1], "both"), ("sshd.service", "x")]
        {
            std::fs::create_dir_all(root.path().join(unit)).unwrap();
            std::fs::write(root.path().join(unit).join(name), "s3cret").unwrap();
        }
        assert_eq!(of_running(root.path(), "one"), Some(root.path().join("fireactions.service")));
        assert_eq!(of_running(root.path(), "both"), None);
        assert_eq!(of_running(root.path(), "x"), None, "another program's");
        assert_eq!(of_running(&root.path().join("absent"), "one"), None);
    }
}
