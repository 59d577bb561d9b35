//! Which Firecracker and which jailer, and whether they can be used.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::api::Version;
use crate::console::printable;
use crate::{Ours, VmmError, elf};

/// How the driver runs Firecracker.
#[derive(Debug, Clone)]
pub struct FirecrackerConfig {
    /// `firecracker`: a path, or a name looked up in `PATH`.
    pub binary: PathBuf,
    /// `jailer`, likewise. `None`: Firecracker is started as the machine's user in a directory of its own, which keeps
    /// it from the server's files, and has its seccomp filters, but sees the rest of the host.
    pub jailer: Option<PathBuf>,
    /// Name of the cgroup that holds one cgroup per machine; `None`: no cgroups. The default is `fireactions`.
    pub cgroup_parent: Option<String>,
    /// Each VMM has a network namespace of its own, where that is possible, and these are the server's. `None`: all are in the
    /// server's.
    pub apart: Option<Ours>,
}

impl Default for FirecrackerConfig {
    /// The usual settings: both programs from `PATH`.
    fn default() -> Self {
        Self {
            binary: PathBuf::from("firecracker"),
            jailer: Some(PathBuf::from("jailer")),
            cgroup_parent: Some("fireactions".to_owned()),
            apart: None,
        }
    }
}

/// Printing a version takes a millisecond.
const DEADLINE: Duration = Duration::from_secs(10);

/// Most of a program's output that is read.
const OUTPUT_MAX: u64 = 4096;

/// More than any program's table of segments is away from its beginning.
const HEAD: u64 = 64 << 10;

/// What to install, for every message that says that something is wrong.
const ADVICE: &str = "install both programs of one release of Firecracker, as its project publishes them (statically \
    linked with musl)";

/// Programs that were looked at.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    /// Absolute, without symbolic links: the jail's path has its last part.
    pub(crate) binary: PathBuf,
    pub(crate) jailer: Option<PathBuf>,
    pub(crate) version: Version,
    /// As the program says it: a build may differ from the release it leads to.
    pub(crate) build: String,
}

impl Installed {
    /// Looks at both programs.
    pub(crate) async fn look(config: &FirecrackerConfig) -> Result<Self, VmmError> {
        let binary = locate(&config.binary)?;
        let build = version_of(&binary, "Firecracker").await?;
        let refused = |why: String| VmmError::Unusable { program: binary.clone(), why };
        let version: Version = build.parse().map_err(|error| refused(format!("{error}; {ADVICE}")))?;
        if version < Version::OLDEST {
            return Err(refused(format!("it is version {build}, older than {}; {ADVICE}", Version::OLDEST)));
        }
        let Some(jailer) = &config.jailer else {
            return Ok(Self { binary, jailer: None, version, build });
        };
        if !rustix::process::geteuid().is_root() {
            let why = "the jailer must be started by root; run the server as root or set 'vmm.jailer: false'";
            return Err(VmmError::Unusable { program: jailer.clone(), why: why.to_owned() });
        }
        let jailer = locate(jailer)?;
        let other = version_of(&jailer, "Jailer").await?;
        if other != build {
            let why = format!("it is version {other}, and {} is version {build}; {ADVICE}", binary.display());
            return Err(VmmError::Unusable { program: jailer, why });
        }
        let unread = |source| VmmError::File { action: "read the program", path: binary.clone(), source };
        if !is_static(&binary).map_err(unread)? {
            let why = format!(
                "it is not statically linked, so it cannot run in the jailer's empty root; {ADVICE}, or set \
                 'vmm.jailer: false'"
            );
            return Err(refused(why));
        }
        Ok(Self { binary, jailer: Some(jailer), version, build })
    }

    /// The file name, which the jailer makes part of the jail's path.
    pub(crate) fn name(&self) -> &Path {
        self.binary.file_name().map_or(Path::new("firecracker"), Path::new)
    }
}

/// The program's real path.
fn locate(program: &Path) -> Result<PathBuf, VmmError> {
    let missing = |source| VmmError::Program { program: program.to_owned(), source };
    if program.components().count() > 1 {
        return std::fs::canonicalize(program).map_err(missing);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let runs = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    match std::env::split_paths(&path).map(|dir| dir.join(program)).find(runs) {
        Some(file) => std::fs::canonicalize(file).map_err(missing),
        None => Err(missing(std::io::ErrorKind::NotFound.into())),
    }
}

/// What `--version` prints after the program's own name: `Firecracker v1.16.1`.
async fn version_of(program: &Path, name: &str) -> Result<String, VmmError> {
    let refused = |why: String| VmmError::Unusable { program: program.to_owned(), why };
    let child = tokio::process::Command::new(program)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|source| VmmError::Program { program: program.to_owned(), source })?;
    let mut output = Vec::new();
    let read = async {
        if let Some(stdout) = child.stdout.take() {
            tokio::io::AsyncReadExt::read_to_end(
                &mut tokio::io::AsyncReadExt::take(stdout, OUTPUT_MAX),
                &mut output,
            )
            .await?;
        }
        child.wait().await
    };
    match tokio::time::timeout(DEADLINE, read).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(refused(format!("'--version' failed: {error}"))),
        Err(_) => return Err(refused(format!("'--version' did not end within {DEADLINE:?}"))),
    }
    let text = printable(&output);
    let mut words = text.split_whitespace();
    if words.next() != Some(name) {
        let said: String = text.chars().take(100).collect();
        return Err(refused(format!("'--version' says '{said}', not '{name} v…'; {ADVICE}")));
    }
    Ok(words.next().unwrap_or_default().trim_start_matches('v').to_owned())
}

/// Whether a program needs no loader, interpreter or library: it can run in an empty root directory.
///
/// # Errors
/// It cannot be read.
pub fn is_static(program: &Path) -> std::io::Result<bool> {
    let mut head = Vec::new();
    std::fs::File::open(program)?.take(HEAD).read_to_end(&mut head)?;
    Ok(elf::is_elf(&head) && !elf::is_dynamic(&head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireactions_testkit::program;

    fn script(dir: &Path, name: &str, says: &str) -> PathBuf {
        let path = dir.join(name);
        program::write(&path, &format!("#!/bin/sh\necho '{says}'\n"));
        path
    }

    async fn refusal(binary: PathBuf, jailer: Option<PathBuf>) -> String {
        let config = FirecrackerConfig { binary, jailer, ..FirecrackerConfig::default() };
        Installed::look(&config).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_said_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let good = script(dir.path(), "firecracker", "Firecracker v1.16.1");
        let jailer = |says: &str| Some(script(dir.path(), "jailer", says));
        let config = FirecrackerConfig { binary: good.clone(), jailer: None, ..Default::default() };
        assert_eq!(Installed::look(&config).await.unwrap().version, Version::new(1, 16, 1));

        let absent = refusal("/nonexistent/firecracker".into(), None).await;
        assert!(absent.starts_with("cannot start /nonexistent/firecracker"), "{absent}");
        let other = refusal(script(dir.path(), "qemu", "QEMU emulator"), None).await;
        assert!(other.contains("says 'QEMU emulator'") && other.contains("install both"), "{other}");
        let old = refusal(script(dir.path(), "old", "Firecracker v1.3.0"), None).await;
        assert!(old.contains("it is version 1.3.0, older than 1.5.0"), "{old}");
        let differ = refusal(good.clone(), jailer("Jailer v1.16.0")).await;
        assert!(
            differ.contains("it is version 1.16.0, and") && differ.contains("is version 1.16.1"),
            "{differ}"
        );
        let dynamic = refusal(good, jailer("Jailer v1.16.1")).await;
        assert!(dynamic.contains("not statically linked") && dynamic.contains("musl"), "{dynamic}");
    }
}
