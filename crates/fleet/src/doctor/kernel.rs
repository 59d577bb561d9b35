//! Files that guests boot from.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fireactions_config::{Config, Driver};
use fireactions_vmm::boot::{KernelFacts, KernelForm, kernel_facts};

use super::checks::{AGENT, KERNEL, MODULES};
use super::kconfig::Known;
use super::{Finding, containers, features};

/// Largest image that is read, in bytes.
const IMAGE_MAX: u64 = 512 << 20;

/// Reads and unpacks whole kernels: for a thread that may be busy for seconds.
pub(super) fn all(config: &Config, program: &Path) -> Vec<Finding> {
    let mut findings = vec![agent(program)];
    let pairs = pairs(config);
    if pairs.is_empty() {
        findings.push(Finding::error(
            &KERNEL,
            "no guest kernel is configured",
            "fetch one with `scripts/fetch-kernel DIR` and set kernel.image and kernel.modules",
        ));
    }
    let (mut modules, mut features, mut containers) = (Vec::new(), Vec::new(), Vec::new());
    for (image, dir) in &pairs {
        let (finding, facts) = look(config.vmm.driver, image);
        findings.push(finding);
        let Some(facts) = facts else { continue };
        modules.extend(dir.as_deref().map(|dir| judge_modules(dir, facts.release.as_deref())));
        let known = Known::of(image, facts.release.as_deref(), facts.config.as_deref(), dir.as_deref());
        let shown = image.display().to_string();
        features.push(features::judge(config.vmm.driver, &shown, &known));
        containers.push(containers::judge(&shown, &known));
    }
    findings.extend(modules);
    findings.extend(features);
    findings.extend(containers);
    findings
}

fn agent(path: &Path) -> Finding {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => {
            Finding::ok(&AGENT, format!("{shown} ({} KiB)", meta.len() / 1024))
        }
        Ok(_) => {
            Finding::error(&AGENT, format!("{shown} is not a program"), "set agent_path to fireactions-agent")
        }
        Err(error) => Finding::error(
            &AGENT,
            format!("{shown}: {error}"),
            "build it with `make agent`, put it into the directory of fireactions, or set agent_path",
        ),
    }
}

/// Kernels with their modules: the default one and those of the pools.
fn pairs(config: &Config) -> BTreeSet<(PathBuf, Option<PathBuf>)> {
    let own = |path: &fireactions_config::AbsolutePath| path.to_path_buf();
    let default = config.kernel.image.as_ref().map(own);
    let modules = config.kernel.modules.as_ref().map(own);
    let pools = config.pools().into_iter().filter_map(|pool| match pool.kernel.image {
        Some(image) => Some((image, pool.kernel.modules)),
        None => Some((default.clone()?, pool.kernel.modules.or_else(|| modules.clone()))),
    });
    let mut pairs: BTreeSet<_> = pools.collect();
    if pairs.is_empty() {
        pairs.extend(default.clone().map(|image| (image, modules.clone())));
    }
    pairs
}

fn look(driver: Driver, path: &Path) -> (Finding, Option<KernelFacts>) {
    let shown = path.display();
    let size = fs::metadata(path).map(|meta| meta.len());
    let image = match size {
        Ok(size) if size > IMAGE_MAX => Err(format!("{shown} has {} MiB", size >> 20)),
        _ => fs::read(path).map_err(|error| format!("{shown}: {error}")),
    };
    let image = match image {
        Ok(image) => image,
        Err(why) => {
            let advice = "fetch one with `scripts/fetch-kernel DIR`, or correct kernel.image";
            return (Finding::error(&KERNEL, why, advice), None);
        }
    };
    let Some(facts) = kernel_facts(&image) else {
        let finding = Finding::error(
            &KERNEL,
            format!("{shown} is not an x86 kernel"),
            "name a vmlinux or bzImage in kernel.image",
        );
        return (finding, None);
    };
    let release = facts.release.as_deref().unwrap_or("of an unknown release");
    let found = format!("{shown} ({}, {release})", facts.form);
    let finding = match (driver, facts.form) {
        (Driver::Firecracker, KernelForm::PlainBzImage) => Finding::warning(
            &KERNEL,
            format!("{found} has no PVH entry, so it cannot be unpacked for Firecracker up to 1.16"),
            "name a vmlinux in kernel.image (scripts/extract-vmlinux of Linux makes one), or build with CONFIG_PVH=y",
        ),
        _ => Finding::ok(&KERNEL, found),
    };
    (finding, Some(facts))
}

/// The directory's name is the release that its modules are for, and the kernel loads no others.
fn judge_modules(dir: &Path, release: Option<&str>) -> Finding {
    let shown = dir.display();
    let list = dir.join("modules.dep");
    let advice =
        "set kernel.modules to the /lib/modules/VERSION directory of this kernel, in which depmod has run";
    if let Err(error) = fs::metadata(&list) {
        return Finding::error(&MODULES, format!("{}: {error}", list.display()), advice);
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    match release {
        Some(release) if name.starts_with(|c: char| c.is_ascii_digit()) && name != release => Finding::error(
            &MODULES,
            format!(
                "{shown} does not belong to the kernel's release, \
                 {release}"
            ),
            advice,
        ),
        _ => Finding::ok(&MODULES, shown.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{Error, Ok as Fine, Warning};
    use super::*;

    #[test]
    fn kernels_are_known_by_their_magic() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            [Driver::Qemu, Driver::Firecracker].map(|driver| look(driver, &path).0.severity)
        };
        let mut image = vec![0; 0x400];
        assert_eq!(file("zeros", &image), [Error, Error]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        assert_eq!(file("bz", &image), [Fine, Warning]);
        image[..4].copy_from_slice(b"\x7fELF");
        assert_eq!(file("elf", &image), [Fine, Fine]);
        assert_eq!(look(Driver::Qemu, &dir.path().join("absent")).0.severity, Error);
    }

    #[test]
    fn nothing_configured_is_an_error_with_a_way_out() {
        let findings = all(&Config::default(), Path::new("/bin/sh"));
        let kernel: Vec<_> = findings.iter().filter(|finding| finding.severity == Error).collect();
        assert_eq!(kernel.len(), 1);
        assert!(kernel[0].advice.as_ref().unwrap().contains("fetch-kernel"));
    }

    #[test]
    fn modules_are_of_the_kernels_release() {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("6.1.0-9");
        assert_eq!(judge_modules(&modules, None).severity, Error);
        fs::create_dir(&modules).unwrap();
        fs::write(modules.join("modules.dep"), "").unwrap();
        let of = |release| judge_modules(&modules, release).severity;
        assert_eq!([of(None), of(Some("6.1.0-9")), of(Some("6.1.0-10"))], [Fine, Fine, Error]);
    }

    #[test]
    fn a_distributions_kernel_is_read_through() {
        let kernel = fireactions_testkit::guest::kernel();
        let (finding, facts) = look(Driver::Firecracker, &kernel.image);
        assert_eq!(finding.severity, Fine, "{finding:?}");
        let facts = facts.unwrap();
        let (release, config) = (facts.release.as_deref(), facts.config.as_deref());
        assert_eq!(judge_modules(&kernel.modules, release).severity, Fine);
        let known = Known::of(&kernel.image, release, config, Some(&kernel.modules));
        for driver in [Driver::Qemu, Driver::Firecracker] {
            let finding = features::judge(driver, "it", &known);
            assert_ne!(finding.severity, Error, "{finding:?}");
        }
    }
}
