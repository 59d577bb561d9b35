//! Programs that the server starts.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fireactions_config::Config;
use tokio::process::Command;

use super::Finding;

/// Until a program must have said its version.
const DEADLINE: Duration = Duration::from_secs(10);

struct Program {
    check: &'static str,
    name: PathBuf,
    ask: &'static str,
    package: &'static str,
}

pub(super) async fn all(config: &Config) -> Vec<Finding> {
    let program =
        |check, name: &str, ask, package| Program { check, name: PathBuf::from(name), ask, package };
    let qemu = Program {
        check: "qemu",
        name: config.vmm.qemu_binary.as_path().to_owned(),
        ask: "--version",
        package: "qemu-system-x86",
    };
    let programs = [
        qemu,
        program("tar2sqfs", "tar2sqfs", "--version", "squashfs-tools-ng"),
        program("mke2fs", "mke2fs", "-V", "e2fsprogs"),
        program("nft", "nft", "--version", "nftables"),
    ];
    let mut findings = Vec::with_capacity(programs.len());
    for program in programs {
        findings.push(look(&program).await);
    }
    findings
}

async fn look(program: &Program) -> Finding {
    let shown = program.name.display();
    let advice =
        || format!("install it: `apt-get install {}` (or the package of your system)", program.package);
    let Some(path) = locate(&program.name) else {
        return Finding::error(program.check, format!("{shown} is not there"), advice());
    };
    let output = Command::new(&path)
        .arg(program.ask)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(DEADLINE, output).await {
        Ok(Ok(output)) if output.status.success() => {
            // mke2fs says its version on standard error.
            let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
            let said = String::from_utf8_lossy(&said);
            let version: String =
                said.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
            Finding::ok(program.check, format!("{} ({})", version.trim(), path.display()))
        }
        Ok(Ok(output)) => Finding::error(
            program.check,
            format!("{} does not run: {}", path.display(), output.status),
            advice(),
        ),
        Ok(Err(error)) => {
            Finding::error(program.check, format!("{} cannot be started: {error}", path.display()), advice())
        }
        Err(_) => Finding::error(
            program.check,
            format!("{} did not say its version in {} s", path.display(), DEADLINE.as_secs()),
            "look why it hangs (a stuck network file system?)",
        ),
    }
}

/// The program's file, with the system directories that a user's `PATH` may lack.
fn locate(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn program(name: &str, ask: &'static str) -> Program {
        Program { check: "x", name: PathBuf::from(name), ask, package: "some-package" }
    }

    #[tokio::test]
    async fn present_absent_and_broken() {
        let good = look(&program("mke2fs", "-V")).await;
        assert_eq!(good.severity, Severity::Ok, "{good:?}");
        assert!(good.found.starts_with("mke2fs "), "{good:?}");

        let absent = look(&program("no-such-program-here", "--version")).await;
        assert_eq!(absent.severity, Severity::Error);
        assert!(absent.advice.unwrap().contains("apt-get install some-package"));

        let broken = look(&program("/bin/false", "--version")).await;
        assert_eq!(broken.severity, Severity::Error);
    }
}
