//! KVM or TCG, decided as the server does, but afresh.

use std::path::PathBuf;

use fireactions_config::{Accel as Setting, Config, Driver};
use fireactions_vmm::accel::{self, Accel};
use fireactions_vmm::boot::BootFiles;

use super::Finding;
use super::checks::ACCEL;

pub(super) async fn accelerator(config: &Config) -> Finding {
    if config.vmm.driver == Driver::Firecracker {
        return Finding::ok(&ACCEL, "KVM, the only one that Firecracker supports");
    }
    let want = match config.vmm.accel {
        Setting::Auto => Accel::Auto,
        Setting::Kvm => Accel::Kvm,
        Setting::Tcg => Accel::Tcg,
    };
    let kernel = config
        .kernel
        .image
        .as_ref()
        .map(|path| path.to_path_buf())
        .or_else(|| config.pools().into_iter().find_map(|pool| pool.kernel.image));
    let cache = match tempfile::tempdir() {
        Ok(cache) => cache,
        Err(error) => {
            let found = format!("no temporary directory: {error}");
            return Finding::error(&ACCEL, found, "make room in the directory for temporary files");
        }
    };
    // The probe boots the kernel with nothing to mount; without a kernel it says so.
    let boot = BootFiles {
        kernel: kernel.unwrap_or_else(|| PathBuf::from("/nonexistent")),
        initrd: PathBuf::new(),
        modules: None,
    };
    let choice = accel::choose(want, config.vmm.qemu_binary.as_path(), &boot, cache.path()).await;
    match choice.accel {
        Accel::Kvm | Accel::Auto => Finding::ok(&ACCEL, choice.why),
        Accel::Tcg if want == Accel::Tcg => Finding::ok(&ACCEL, choice.why),
        Accel::Tcg => Finding::warning(
            &ACCEL,
            choice.why,
            "for speed, use a host with hardware virtualization (or with nested virtualization switched on)",
        ),
    }
}
