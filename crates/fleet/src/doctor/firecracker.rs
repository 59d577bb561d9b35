//! Firecracker and its jailer.

use std::path::{Path, PathBuf};

use fireactions_config::{Config, Driver};
use fireactions_model::{HugePages, StartMode};
use fireactions_vmm::firecracker::api::{Feature, Version};
use fireactions_vmm::firecracker::is_static;
use rustix::process::geteuid;

use super::checks::{Check, FIRECRACKER, JAILER};
use super::{Finding, look};

/// Where both come from.
const INSTALL: &str = "install both programs of one release from https://github.com/firecracker-microvm/firecracker/releases (they are static)";

/// What machines may use and older versions lack.
const USED: [Feature; 6] = [
    Feature::HugePages,
    Feature::NetworkOverrides,
    Feature::FreePageReporting,
    Feature::ClockRealtime,
    Feature::BzImage,
    Feature::TransparentHugePages,
];

/// What the configuration asks for.
#[derive(Debug, Clone, Default)]
struct Wish {
    /// The driver is Firecracker's.
    wanted: bool,
    /// And in the jailer.
    jailed: bool,
    /// A pool's machines are clones.
    clones: bool,
    /// What a pool cannot start without.
    must: Vec<Feature>,
}

impl Wish {
    fn of(config: &Config) -> Self {
        let mut wish = Self {
            wanted: config.vmm.driver == Driver::Firecracker,
            jailed: jailed(config),
            ..Self::default()
        };
        for pool in config.pools() {
            wish.clones |= pool.start == StartMode::Snapshot;
            wish.must.extend(match pool.hardware.huge_pages {
                HugePages::None => None,
                HugePages::Transparent => Some(Feature::TransparentHugePages),
                HugePages::Hugetlbfs => Some(Feature::HugePages),
            });
        }
        wish
    }
}

/// What was found out about a program.
#[derive(Debug, Clone)]
struct Program {
    path: PathBuf,
    /// As it was said (`Firecracker v1.16.1`), and what that means.
    version: Result<(String, Version), String>,
    is_static: Result<bool, String>,
}

/// True when machines run in the jailer.
pub(super) fn jailed(config: &Config) -> bool {
    config.vmm.driver == Driver::Firecracker && config.vmm.jailer && geteuid().is_root()
}

pub(super) async fn all(config: &Config) -> Vec<Finding> {
    let (firecracker, jailer) = (config.firecracker_binary(), config.vmm.jailer_binary.as_path());
    let (fire, jail) = (examine(firecracker.as_path()).await, examine(jailer).await);
    let wish = Wish::of(config);
    vec![
        judge_firecracker(&wish, firecracker.as_path(), fire.as_ref()),
        judge_jailer(&wish, jailer, jail.as_ref(), fire.as_ref()),
    ]
}

async fn examine(name: &Path) -> Option<Program> {
    let path = look::locate(name)?;
    let version =
        look::ask(&path, &["--version"], look::DEADLINE).await.and_then(|answer| read(&answer.first_line()));
    let linked = is_static(&path).map_err(|error| error.to_string());
    Some(Program { path, version, is_static: linked })
}

/// The second word is the version.
fn read(line: &str) -> Result<(String, Version), String> {
    let version = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    version.map(|version| (line.to_owned(), version)).ok_or(format!("it prints no version: {line:?}"))
}

/// An error where the program is wanted; otherwise only told.
fn unless(wanted: bool, check: &'static Check, found: String, advice: &str) -> Finding {
    if wanted {
        Finding::error(check, found, advice)
    } else {
        Finding::ok(check, format!("{found}; not used"))
    }
}

fn judge_firecracker(wish: &Wish, name: &Path, program: Option<&Program>) -> Finding {
    let unless = |found: String| unless(wish.wanted, &FIRECRACKER, found, INSTALL);
    let Some(program) = program else {
        return unless(format!("{} is not there", name.display()));
    };
    let shown = program.path.display();
    let (said, version) = match &program.version {
        Ok((said, version)) => (said, *version),
        Err(why) => return unless(format!("{shown} does not run: {why}")),
    };
    let is_static = match &program.is_static {
        Ok(is_static) => *is_static,
        Err(why) => return unless(format!("{shown}: {why}")),
    };
    if !is_static && wish.jailed {
        return unless(format!("{said} ({shown}) needs shared libraries, which are not in the jail"));
    }
    if version < Version::OLDEST {
        return unless(format!(
            "{said} ({shown}) is older than {}, the oldest supported version",
            Version::OLDEST
        ));
    }
    if let Some(feature) = wish.must.iter().find(|feature| !version.has(**feature)) {
        return unless(format!(
            "{said} ({shown}) has no {feature}, which a pool needs; {} and later have it",
            feature.since()
        ));
    }
    let lacks: Vec<String> = USED
        .iter()
        .filter(|feature| !version.has(**feature))
        .map(|feature| format!("no {feature} (since {})", feature.since()))
        .collect();
    let linked = if is_static { "static" } else { "not static, so it lacks its seccomp filters" };
    let found =
        format!("{said} ({shown}), {linked}{}{}", if lacks.is_empty() { "" } else { "; " }, lacks.join(", "));
    let no_clones = wish.clones && !version.has(Feature::NetworkOverrides);
    if wish.wanted && no_clones {
        Finding::warning(&FIRECRACKER, format!("{found}; so machines boot instead of being cloned"), INSTALL)
    } else if wish.wanted && !is_static {
        Finding::warning(&FIRECRACKER, found, INSTALL)
    } else {
        Finding::ok(&FIRECRACKER, found)
    }
}

fn judge_jailer(
    wish: &Wish,
    name: &Path,
    jailer: Option<&Program>,
    firecracker: Option<&Program>,
) -> Finding {
    let unless = |found: String| unless(wish.jailed, &JAILER, found, INSTALL);
    if wish.wanted && !wish.jailed {
        let why = if geteuid().is_root() { "vmm.jailer is off" } else { "this is not root" };
        return Finding::warning(
            &JAILER,
            format!(
                "not used: {why}; a guest that takes over Firecracker sees the host's files and processes"
            ),
            "set vmm.jailer to true, and run the server as root",
        );
    }
    let Some(program) = jailer else {
        return unless(format!("{} is not there", name.display()));
    };
    let shown = program.path.display();
    let said = match &program.version {
        Ok((said, _)) => said,
        Err(why) => return unless(format!("{shown} does not run: {why}")),
    };
    // Two builds between releases differ, although their numbers are the same.
    let build = |said: &str| said.split_whitespace().nth(1).map(str::to_owned);
    if let Some(Program { version: Ok((other, _)), .. }) = firecracker
        && build(other) != build(said)
    {
        return unless(format!("{said} ({shown}), but {other}: they must be of the same version"));
    }
    match &program.is_static {
        Ok(true) => Finding::ok(&JAILER, format!("{said} ({shown}), static")),
        Ok(false) => Finding::ok(&JAILER, format!("{said} ({shown}), not static, which is sufficient")),
        Err(why) => unless(format!("{shown}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Error, Ok as Fine, Warning};
    use super::*;

    fn program(said: &str) -> Program {
        Program { path: "/usr/bin/it".into(), version: read(said), is_static: Ok(true) }
    }

    fn wish() -> Wish {
        Wish { wanted: true, jailed: true, clones: true, must: Vec::new() }
    }

    fn fire(wish: &Wish, said: &str) -> (Severity, String) {
        let finding = judge_firecracker(wish, Path::new("firecracker"), Some(&program(said)));
        (finding.severity, finding.found)
    }

    #[test]
    fn what_an_older_version_lacks_is_named() {
        let good = fire(&wish(), "Firecracker v1.17.0-dev");
        assert_eq!(good, (Fine, "Firecracker v1.17.0-dev (/usr/bin/it), static".to_owned()));
        let older = fire(&wish(), "Firecracker v1.13.1");
        assert!(older.0 == Fine && older.1.contains("clock_realtime) (since 1.16.0)"), "{older:?}");
        let old = fire(&wish(), "Firecracker v1.11.0");
        assert!(old.0 == Warning && old.1.ends_with("instead of being cloned"), "{old:?}");
        assert_eq!(fire(&Wish { clones: false, ..wish() }, "Firecracker v1.11.0").0, Fine);
        assert_eq!(fire(&wish(), "Firecracker v1.3.0").0, Error);
        assert_eq!(fire(&wish(), "hello").0, Error);
        let huge = Wish { must: vec![Feature::TransparentHugePages], ..wish() };
        assert_eq!(
            [fire(&huge, "Firecracker v1.16.0").0, fire(&huge, "Firecracker v1.17.0").0],
            [Error, Fine]
        );
    }

    #[test]
    fn a_dynamic_firecracker_is_no_good_in_the_jail() {
        let dynamic = Program { is_static: Ok(false), ..program("Firecracker v1.17.0") };
        let of = |jailed| judge_firecracker(&Wish { jailed, ..wish() }, Path::new("x"), Some(&dynamic));
        assert_eq!((of(true).severity, of(false).severity), (Error, Warning));
        assert!(of(true).found.contains("shared libraries"));
    }

    #[test]
    fn what_is_not_wanted_may_be_missing() {
        for (wish, severity) in [(wish(), Error), (Wish::default(), Fine)] {
            assert_eq!(judge_firecracker(&wish, Path::new("firecracker"), None).severity, severity);
            assert_eq!(judge_jailer(&wish, Path::new("jailer"), None, None).severity, severity);
        }
        let open = Wish { jailed: false, ..wish() };
        assert_eq!(judge_jailer(&open, Path::new("jailer"), None, None).severity, Warning);
    }

    #[test]
    fn the_jailer_is_of_firecrackers_version() {
        let fire = program("Firecracker v1.16.0");
        let of = |said| judge_jailer(&wish(), Path::new("jailer"), Some(&program(said)), Some(&fire));
        assert_eq!(of("Jailer v1.16.0").severity, Fine);
        let other = of("Jailer v1.16.0-dev");
        assert!(other.severity == Error && other.found.contains("the same version"), "{other:?}");
    }
}
