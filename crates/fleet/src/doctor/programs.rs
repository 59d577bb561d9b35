//! Programs that the server starts.

use std::path::{Path, PathBuf};

use fireactions_config::{Config, Driver};

use super::checks::{Check, MKE2FS, NFT, QEMU, TAR2SQFS, ZSTD};
use super::{Finding, Severity, look};

struct Program {
    check: &'static Check,
    name: PathBuf,
    ask: &'static str,
    package: &'static str,
}

impl Program {
    fn advice(&self) -> String {
        format!("install it: `apt-get install {}` (or the package of your system)", self.package)
    }
}

pub(super) async fn tar2sqfs() -> Finding {
    look(&Program {
        check: &TAR2SQFS,
        name: "tar2sqfs".into(),
        ask: "--version",
        package: "squashfs-tools-ng",
    })
    .await
}

/// Only layers that are packed so need it, but which images do, nobody knows beforehand.
pub(super) async fn zstd() -> Finding {
    look(&Program { check: &ZSTD, name: "zstd".into(), ask: "--version", package: "zstd" }).await
}

pub(super) async fn mke2fs() -> Finding {
    look(&Program { check: &MKE2FS, name: "mke2fs".into(), ask: "-V", package: "e2fsprogs" }).await
}

pub(super) async fn nft() -> Finding {
    let finding =
        look(&Program { check: &NFT, name: "nft".into(), ask: "--version", package: "nftables" }).await;
    if finding.severity != Severity::Error {
        return finding;
    }
    // The server itself speaks to the kernel.
    let advice = "`apt-get install nftables`: without it, other firewalls are not checked";
    Finding::warning(&NFT, finding.found, advice)
}

/// QEMU, and whether it was built with the machine that is started: some distributions' is not.
pub(super) async fn qemu(config: &Config) -> Finding {
    let name = config.vmm.qemu_binary.as_path().to_owned();
    let program = Program { check: &QEMU, name, ask: "--version", package: "qemu-system-x86" };
    let mut finding = look(&program).await;
    if finding.advice.is_none()
        && let Some(path) = look::locate(&program.name)
        && let Ok(machines) = look::ask(&path, &["-M", "help"], look::DEADLINE).await
    {
        finding = judge_qemu(&finding.found, &machines.stdout);
    }
    if config.vmm.driver == Driver::Qemu || finding.advice.is_none() {
        return finding;
    }
    Finding::ok(&QEMU, format!("{}; not used", finding.found))
}

/// Older ones are not tested with.
const GOOD_QEMU: (u32, u32, u32) = (7, 2, 0);

fn judge_qemu(found: &str, machines: &str) -> Finding {
    if !machines.lines().any(|line| line.split_whitespace().next() == Some("microvm")) {
        return Finding::error(
            &QEMU,
            format!("{found} has no microvm machine"),
            "install a QEMU that has it (Debian's qemu-system-x86), or set vmm.qemu_binary to one",
        );
    }
    match look::version(found) {
        Some(version) if version < GOOD_QEMU => Finding::warning(
            &QEMU,
            format!("{found} is older than 7.2, the oldest tested version"),
            "use a newer QEMU, or set vmm.qemu_binary to one",
        ),
        _ => Finding::ok(&QEMU, format!("{found}, with microvm")),
    }
}

async fn look(program: &Program) -> Finding {
    let Some(path) = look::locate(&program.name) else {
        return Finding::error(
            program.check,
            format!("{} is not there", program.name.display()),
            program.advice(),
        );
    };
    version(program, &path).await
}

async fn version(program: &Program, path: &Path) -> Finding {
    let shown = path.display();
    match look::ask(path, &[program.ask], look::DEADLINE).await {
        // mke2fs says its version on standard error.
        Ok(answer) if answer.status.success() => {
            Finding::ok(program.check, format!("{} ({shown})", answer.first_line()))
        }
        Ok(answer) => Finding::error(
            program.check,
            format!("{shown} does not run: {}", answer.status),
            program.advice(),
        ),
        Err(why) => Finding::error(program.check, why, "find out why it hangs, or install it again"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Error, Ok as Fine, Warning};
    use super::*;

    fn program(name: &str, ask: &'static str) -> Program {
        Program { check: &MKE2FS, name: PathBuf::from(name), ask, package: "some-package" }
    }

    #[tokio::test]
    async fn present_absent_and_broken() {
        let good = look(&program("mke2fs", "-V")).await;
        assert_eq!(good.severity, Fine, "{good:?}");
        assert!(good.found.starts_with("mke2fs "), "{good:?}");

        let absent = look(&program("no-such-program-here", "--version")).await;
        assert_eq!(absent.severity, Error);
        assert!(absent.advice.unwrap().contains("apt-get install some-package"));

        let broken = look(&program("/bin/false", "--version")).await;
        assert_eq!(broken.severity, Error);
    }

    #[test]
    fn qemu_has_microvm_and_is_not_old() {
        let machines = "Supported machines are:\nmicrovm              microvm (i386)\nq35  x\n";
        let of = |found: &str, machines| judge_qemu(found, machines).severity;
        assert_eq!(of("QEMU emulator version 7.2.22 (x)", machines), Fine);
        assert_eq!(of("QEMU emulator version 6.2.0 (x)", machines), Warning);
        assert_eq!(of("QEMU emulator version 9.0.0 (x)", "Supported machines are:\nq35 x\n"), Error);
    }
}
