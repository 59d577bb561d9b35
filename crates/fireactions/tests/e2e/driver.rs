//! The driver, the VMM and the guest kernel that this run of the suite is on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use fireactions_testkit::{guest, skip, standin};

const FIRECRACKER: &str = "firecracker";

static SAID: Once = Once::new();

/// Whether this run of the suite is on the Firecracker driver.
pub(crate) fn on_firecracker() -> bool {
    std::env::var("FIREACTIONS_E2E_DRIVER").is_ok_and(|driver| driver == FIRECRACKER)
}

/// The real programs, where they are named: on a host whose KVM runs guests, the suite runs on them.
fn real() -> Option<(PathBuf, PathBuf)> {
    let named = |variable| std::env::var_os(variable).map(PathBuf::from);
    Some((named("FIREACTIONS_FIRECRACKER_BIN")?, named("FIREACTIONS_JAILER_BIN")?))
}

/// For the real Firecracker, the kernel that `FIREACTIONS_LAB_KERNEL` names. Its host's KVM may interpret what it is to run:
/// a guest takes half a minute of a core to boot, so there is more time for everything, and images are not compressed,
/// for the kernel's zstd uses instructions that such a KVM does not know.
pub(crate) fn lab_kernel() -> Option<String> {
    std::env::var("FIREACTIONS_LAB_KERNEL").ok().filter(|_| on_firecracker() && real().is_some())
}

/// The guest kernel, as `kernel:`. The lab's has everything built in, and the arguments of `FIREACTIONS_LAB_KERNEL_ARGS`.
pub(crate) fn kernel() -> String {
    if let Some(image) = lab_kernel() {
        let args = std::env::var("FIREACTIONS_LAB_KERNEL_ARGS").unwrap_or_default();
        return format!("image: {image}, args: '{args}'");
    }
    let guest::Kernel { image, modules } = guest::kernel();
    format!("image: {}, modules: {}", image.display(), modules.display())
}

/// The kernel of `scripts/build-kernel`, as `kernel:`. It has no modules.
pub(crate) fn custom_kernel(test: &str) -> Option<String> {
    guest::custom_kernel(test).map(|image| format!("image: {}", image.display()))
}

/// The driver that `FIREACTIONS_E2E_DRIVER` names, `qemu` without it, as fields of `vmm:`. Firecracker and its jailer
/// are the real ones where they are named, else stand-ins, whose guests need no KVM: played ones where `standin` says so, else
/// real ones in QEMU.
pub(crate) fn vmm(standin: bool) -> String {
    match std::env::var("FIREACTIONS_E2E_DRIVER").as_deref() {
        Ok(FIRECRACKER) => {
            if real().is_none() {
                SAID.call_once(|| {
                    skip::say(
                        skip::Kind::Firecracker,
                        "end to end on the real Firecracker",
                        "FIREACTIONS_FIRECRACKER_BIN and FIREACTIONS_JAILER_BIN do not name it and its jailer; stand-ins take \
                         their places",
                    );
                });
            }
            let guest = if standin { standin::Guest::Played } else { standin::Guest::Emulated };
            let (firecracker, jailer) = real()
                .filter(|_| !standin)
                .unwrap_or_else(|| (standin::firecracker(guest), standin::jailer()));
            format!(
                "driver: firecracker, firecracker_binary: {}, jailer_binary: {}",
                firecracker.display(),
                jailer.display()
            )
        }
        Ok("qemu" | "") | Err(_) => {
            let qemu = if standin { standin::program() } else { PathBuf::from("qemu-system-x86_64") };
            format!("accel: tcg, qemu_binary: {}", qemu.display())
        }
        Ok(other) => panic!("FIREACTIONS_E2E_DRIVER is '{other}'; it is 'qemu' or 'firecracker'"),
    }
}

/// In place of `tar2sqfs` where guests run on an interpreting KVM.
const UNCOMPRESSED: &str = r#"#!/bin/sh -e
for to; do :; done
# As tar2sqfs: it needs no right to give files their owners, nor a directory to write to.
exec sqfstar -force -quiet -no-progress -comp gzip -noI -noD -noF -noX "$to"
"#;

/// Puts what a server with the lab's kernel is to find first in `PATH` into this new directory.
pub(crate) fn programs(dir: &Path) {
    fs::create_dir(dir).unwrap();
    if lab_kernel().is_some() {
        let packer = dir.join("tar2sqfs");
        fs::write(&packer, UNCOMPRESSED).unwrap();
        fs::set_permissions(&packer, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
