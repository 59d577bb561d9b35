//! Files that guests boot from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fireactions_config::Config;

use super::Finding;

pub(super) fn agent(path: &Path) -> Finding {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => {
            Finding::ok("agent", format!("{shown} ({} KiB)", meta.len() / 1024))
        }
        Ok(_) => Finding::error(
            "agent",
            format!("{shown} is not a program"),
            "set agent_path to fireactions-agent",
        ),
        Err(error) => Finding::error(
            "agent",
            format!("{shown}: {error}"),
            "build it with `make agent`, put it beside fireactions, or set agent_path",
        ),
    }
}

/// The default kernel and those of the pools.
pub(super) fn kernels(config: &Config) -> Vec<Finding> {
    let default = config.kernel.image.as_ref().map(|path| path.to_path_buf());
    let mut wanted: Vec<PathBuf> = config
        .pools()
        .into_iter()
        .filter_map(|pool| pool.kernel.image.or_else(|| default.clone()))
        .chain(default.clone())
        .collect();
    wanted.sort();
    wanted.dedup();
    if wanted.is_empty() {
        return vec![Finding::error(
            "kernel",
            "no guest kernel is configured",
            "fetch one with `scripts/fetch-kernel DIR` and set kernel.image and kernel.modules",
        )];
    }
    let mut findings: Vec<Finding> = wanted.iter().map(|path| kernel(path)).collect();
    if let Some(modules) = &config.kernel.modules {
        let list = modules.join("modules.dep");
        findings.push(match fs::metadata(&list) {
            Ok(_) => Finding::ok("modules", modules.display().to_string()),
            Err(error) => Finding::error(
                "modules",
                format!("{}: {error}", list.display()),
                "set kernel.modules to a /lib/modules/VERSION directory that depmod has seen",
            ),
        });
    }
    findings
}

/// A bzImage has "HdrS" at 0x202 (Documentation/arch/x86/boot.rst of Linux), a vmlinux is an ELF file.
fn kernel(path: &Path) -> Finding {
    use std::io::Read;
    let shown = path.display();
    let mut head = [0; 0x206];
    match fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)) {
        Ok(()) if head.starts_with(b"\x7fELF") => Finding::ok("kernel", format!("{shown} (vmlinux)")),
        Ok(()) if &head[0x202..] == b"HdrS" => Finding::ok("kernel", format!("{shown} (bzImage)")),
        Ok(()) => Finding::error(
            "kernel",
            format!("{shown} is no x86 kernel"),
            "name a vmlinux or bzImage in kernel.image",
        ),
        Err(error) => Finding::error(
            "kernel",
            format!("{shown}: {error}"),
            "fetch one with `scripts/fetch-kernel DIR`, or correct kernel.image",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn kernels_are_known_by_their_magic() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            kernel(&path)
        };
        let mut image = vec![0; 0x400];
        assert_eq!(file("zeros", &image).severity, Severity::Error);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        assert!(file("bz", &image).found.ends_with("(bzImage)"));
        image[..4].copy_from_slice(b"\x7fELF");
        assert!(file("elf", &image).found.ends_with("(vmlinux)"));
        assert_eq!(file("short", b"\x7fELF").severity, Severity::Error);
    }

    #[test]
    fn nothing_configured_is_an_error_with_a_way_out() {
        let findings = kernels(&Config::default());
        assert_eq!(findings.len(), 1);
        assert!(findings[0].advice.as_ref().unwrap().contains("fetch-kernel"));
    }
}
