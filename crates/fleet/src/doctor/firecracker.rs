//! Firecracker and its jailer.

use std::path::{Path, PathBuf};

use fireactions_config::{Config, Driver};
use rustix::process::geteuid;

use super::checks::{Check, FIRECRACKER, JAILER};
use super::{Finding, elf, look};

/// Where both come from.
const INSTALL: &str = "install both programs of one release from https://github.com/firecracker-microvm/firecracker/releases (they are static)";

/// What later versions can do that earlier ones cannot.
const SINCE: [((u32, u32), &str); 3] = [
    ((1, 12), "clones with a tap of their own (so every machine boots)"),
    ((1, 16), "clones with a clock and a vsock socket of their own"),
    ((1, 17), "bzImage kernels that have no PVH entry, transparent huge pages"),
];

/// The oldest version without which something that machines usually do is amiss.
const GOOD: (u32, u32) = (1, 16);

/// The oldest that is driven at all.
const OLDEST: (u32, u32) = (1, 12);

/// What was found out about a program.
#[derive(Debug, Clone)]
struct Program {
    path: PathBuf,
    /// As it was said, and its numbers.
    version: Result<(String, (u32, u32, u32)), String>,
    is_static: Result<bool, String>,
}

/// True when machines run in the jailer.
pub(super) fn jailed(config: &Config) -> bool {
    config.vmm.driver == Driver::Firecracker && geteuid().is_root()
}

pub(super) async fn all(config: &Config) -> Vec<Finding> {
    let (firecracker, jailer) = (Path::new("firecracker"), Path::new("jailer"));
    let wanted = config.vmm.driver == Driver::Firecracker;
    let (fire, jail) = (examine(firecracker).await, examine(jailer).await);
    let jailed = jailed(config);
    vec![
        judge_firecracker(wanted, jailed, firecracker, fire.as_ref()),
        judge_jailer(wanted && jailed, jailer, jail.as_ref(), fire.as_ref()),
    ]
}

async fn examine(name: &Path) -> Option<Program> {
    let path = look::locate(name)?;
    let version = match look::ask(&path, &["--version"], look::DEADLINE).await {
        Ok(answer) => {
            let line = answer.first_line();
            look::version(&line)
                .map(|numbers| (line.clone(), numbers))
                .ok_or(format!("it says no version: {line:?}"))
        }
        Err(why) => Err(why),
    };
    let is_static = elf::is_static(&path).map_err(|error| error.to_string());
    Some(Program { path, version, is_static })
}

/// An error where the program is wanted; otherwise only told.
fn unless(wanted: bool, check: &'static Check, found: String, advice: &str) -> Finding {
    if wanted {
        Finding::error(check, found, advice)
    } else {
        Finding::ok(check, format!("{found}; not used"))
    }
}

fn judge_firecracker(wanted: bool, jailed: bool, name: &Path, program: Option<&Program>) -> Finding {
    let Some(program) = program else {
        return unless(wanted, &FIRECRACKER, format!("{} is not there", name.display()), INSTALL);
    };
    let shown = program.path.display();
    let (said, version) = match &program.version {
        Ok((said, (major, minor, _))) => (said, (*major, *minor)),
        Err(why) => return unless(wanted, &FIRECRACKER, format!("{shown} does not run: {why}"), INSTALL),
    };
    match &program.is_static {
        Ok(true) => {}
        Ok(false) if jailed => {
            let found = format!("{said} ({shown}) needs shared libraries, which are not in the jail");
            return unless(wanted, &FIRECRACKER, found, INSTALL);
        }
        Ok(false) => {
            let found = format!("{said} ({shown}) is not static: it has no seccomp filters of its own");
            return if wanted {
                Finding::warning(&FIRECRACKER, found, INSTALL)
            } else {
                Finding::ok(&FIRECRACKER, found)
            };
        }
        Err(why) => return unless(wanted, &FIRECRACKER, format!("{shown}: {why}"), INSTALL),
    }
    let lacks: Vec<&str> =
        SINCE.iter().filter(|(since, _)| version < *since).map(|(_, what)| *what).collect();
    let lack = if lacks.is_empty() { String::new() } else { format!("; without {}", lacks.join("; ")) };
    let found = format!("{said} ({shown}), static{lack}");
    if !wanted || version >= GOOD {
        Finding::ok(&FIRECRACKER, found)
    } else if version >= OLDEST {
        Finding::warning(&FIRECRACKER, found, INSTALL)
    } else {
        Finding::error(&FIRECRACKER, format!("{found}; 1.12 is the oldest that is supported"), INSTALL)
    }
}

fn judge_jailer(
    wanted: bool,
    name: &Path,
    jailer: Option<&Program>,
    firecracker: Option<&Program>,
) -> Finding {
    let Some(program) = jailer else {
        return unless(wanted, &JAILER, format!("{} is not there", name.display()), INSTALL);
    };
    let shown = program.path.display();
    let (said, version) = match &program.version {
        Ok((said, version)) => (said, version),
        Err(why) => return unless(wanted, &JAILER, format!("{shown} does not run: {why}"), INSTALL),
    };
    if let Some(Program { version: Ok((other, numbers)), .. }) = firecracker
        && numbers != version
    {
        let found = format!("{said} ({shown}), but {other}: they must be of the same version");
        return unless(wanted, &JAILER, found, INSTALL);
    }
    match &program.is_static {
        Ok(true) => Finding::ok(&JAILER, format!("{said} ({shown}), static")),
        Ok(false) => Finding::ok(&JAILER, format!("{said} ({shown}), not static, which is enough for it")),
        Err(why) => unless(wanted, &JAILER, format!("{shown}: {why}"), INSTALL),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Error, Ok as Fine, Warning};
    use super::*;

    fn program(name: &str, said: &str) -> Program {
        let version =
            look::version(said).map(|numbers| (said.to_owned(), numbers)).ok_or("nothing".to_owned());
        Program { path: Path::new("/usr/bin").join(name), version, is_static: Ok(true) }
    }

    fn fire(said: &str) -> (Severity, String) {
        let finding =
            judge_firecracker(true, true, Path::new("firecracker"), Some(&program("firecracker", said)));
        (finding.severity, finding.found)
    }

    #[test]
    fn versions_are_supported_from_1_12_and_good_from_1_16() {
        let good = fire("Firecracker v1.17.0-dev");
        assert_eq!(good, (Fine, "Firecracker v1.17.0-dev (/usr/bin/firecracker), static".to_owned()));
        assert_eq!(fire("Firecracker v1.16.1").0, Fine);
        let old = fire("Firecracker v1.13.1");
        assert!(old.0 == Warning && old.1.contains("a vsock socket of their own"), "{old:?}");
        let older = fire("Firecracker v1.11.0");
        assert!(older.0 == Error && older.1.contains("a tap of their own"), "{older:?}");
        assert_eq!(fire("hello").0, Error);
    }

    #[test]
    fn a_dynamic_firecracker_is_no_good_in_the_jail() {
        let dynamic = Program { is_static: Ok(false), ..program("firecracker", "Firecracker v1.17.0") };
        let of = |jailed| judge_firecracker(true, jailed, Path::new("firecracker"), Some(&dynamic));
        assert_eq!((of(true).severity, of(false).severity), (Error, Warning));
        assert!(of(true).found.contains("shared libraries"));
    }

    #[test]
    fn what_is_not_wanted_may_be_missing() {
        for wanted in [true, false] {
            let severity = if wanted { Error } else { Fine };
            assert_eq!(judge_firecracker(wanted, wanted, Path::new("firecracker"), None).severity, severity);
            assert_eq!(judge_jailer(wanted, Path::new("jailer"), None, None).severity, severity);
        }
    }

    #[test]
    fn the_jailer_is_of_firecrackers_version() {
        let fire = program("firecracker", "Firecracker v1.16.0");
        let of = |said| judge_jailer(true, Path::new("jailer"), Some(&program("jailer", said)), Some(&fire));
        assert_eq!(of("Jailer v1.16.0").severity, Fine);
        let other = of("Jailer v1.16.1");
        assert!(other.severity == Error && other.found.contains("the same version"), "{other:?}");
    }
}
