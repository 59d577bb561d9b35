//! What a guest needs of its kernel.

use fireactions_config::Driver;

use super::Finding;
use super::checks::FEATURES;
use super::kconfig::{Known, State};

/// Who cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// Every machine.
    All,
    /// Machines of this driver.
    Only(Driver),
    /// It works without, worse.
    Better,
    /// The same, with this driver alone.
    BetterWith(Driver),
}

struct Feature {
    option: &'static str,
    /// The module that it makes, where it can be one.
    module: Option<&'static str>,
    needed: For,
    what: &'static str,
}

const fn feature(
    option: &'static str,
    module: Option<&'static str>,
    needed: For,
    what: &'static str,
) -> Feature {
    Feature { option, module, needed, what }
}

const FEATURES_OF_A_GUEST: [Feature; 15] = [
    feature("BLK_DEV_INITRD", None, For::All, "initramfs"),
    feature("DEVTMPFS", None, For::All, "devtmpfs"),
    feature("VIRTIO_MMIO", Some("virtio_mmio"), For::All, "virtio on MMIO"),
    feature("VIRTIO_BLK", Some("virtio_blk"), For::All, "virtio block"),
    feature("VIRTIO_NET", Some("virtio_net"), For::All, "virtio network"),
    feature(
        "VIRTIO_CONSOLE",
        Some("virtio_console"),
        For::Only(Driver::Qemu),
        "virtio console, the agent's channel",
    ),
    feature(
        "VIRTIO_VSOCKETS",
        Some("vmw_vsock_virtio_transport"),
        For::Only(Driver::Firecracker),
        "virtio vsock, the agent's channel",
    ),
    feature("SQUASHFS", Some("squashfs"), For::All, "squashfs, for root images"),
    feature("SQUASHFS_ZSTD", None, For::All, "squashfs with zstd"),
    feature("OVERLAY_FS", Some("overlay"), For::All, "overlayfs"),
    feature("EXT4_FS", Some("ext4"), For::All, "ext4, for scratch disks"),
    feature("SERIAL_8250_CONSOLE", None, For::Better, "serial console"),
    feature("HW_RANDOM_VIRTIO", Some("virtio_rng"), For::Better, "virtio entropy"),
    feature("VIRTIO_BALLOON", Some("virtio_balloon"), For::Better, "virtio balloon, to give memory back"),
    feature(
        "VMGENID",
        Some("vmgenid"),
        For::BetterWith(Driver::Firecracker),
        "VM generation id, which makes a clone's kernel reseed (5.18 and later)",
    ),
];

/// How a guest finds its devices: both VMMs say it in ACPI's tables and on the kernel command line.
const FINDS_DEVICES: [&str; 2] = ["ACPI", "VIRTIO_MMIO_CMDLINE_DEVICES"];

pub(super) fn judge(driver: Driver, image: &str, known: &Known) -> Finding {
    let by_trying = "look at the console if it does not boot (`fireactions logs MACHINE`), or put the kernel's configuration next to the image as IMAGE.config; kernels carry it with CONFIG_IKCONFIG";
    if known.from.is_empty() {
        let found =
            format!("{image}: neither a configuration nor modules to read; only a boot shows what it lacks");
        return Finding::warning(&FEATURES, found, by_trying);
    }
    let (mut needed, mut better, mut unknown, mut there) = (Vec::new(), Vec::new(), Vec::new(), (0, 0));
    for feature in &FEATURES_OF_A_GUEST {
        let must = match feature.needed {
            For::All => true,
            For::Only(of) if of == driver => true,
            For::BetterWith(of) if of == driver => false,
            For::Better => false,
            For::Only(_) | For::BetterWith(_) => continue,
        };
        let lacks = match known.state(feature.option, feature.module) {
            State::BuiltIn => {
                there.0 += 1;
                continue;
            }
            State::Module => {
                there.1 += 1;
                continue;
            }
            State::Unknown => {
                unknown.push(feature.option);
                continue;
            }
            State::ModuleMissing => format!(
                "CONFIG_{} ({}; a module that is not in kernel.modules)",
                feature.option, feature.what
            ),
            State::Absent => format!("CONFIG_{} ({})", feature.option, feature.what),
        };
        if must { needed.push(lacks) } else { better.push(lacks) }
    }
    match FINDS_DEVICES.map(|option| known.state(option, None)) {
        [State::Absent, State::Absent] => {
            needed.push(format!("CONFIG_{}", FINDS_DEVICES.join(" or CONFIG_")));
        }
        [State::Unknown, _] => unknown.push("how devices are found"),
        _ => there.0 += 1,
    }
    let from = known.from.join(", ");
    let advice = "build them in, set kernel.modules to the kernel's own module directory, or use another \
         kernel (`scripts/fetch-kernel DIR`)";
    if !needed.is_empty() {
        return Finding::error(
            &FEATURES,
            format!("{image} lacks {} (according to {from})", needed.join(", ")),
            advice,
        );
    }
    if !better.is_empty() {
        let found = format!(
            "{image} has what it needs, but would be better with {} (according to {from})",
            better.join(", ")
        );
        return Finding::warning(&FEATURES, found, advice);
    }
    let rest = if unknown.is_empty() {
        String::new()
    } else {
        format!("; what is not a module cannot be seen there: {}", unknown.join(", "))
    };
    Finding::ok(
        &FEATURES,
        format!(
            "{image}: {} built in, {} modules, none missing (according to {from}{rest})",
            there.0, there.1
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Severity::{Error, Ok as Fine, Warning};
    use super::*;

    fn with(driver: Driver, config: &str) -> Finding {
        judge(driver, "vmlinux", &Known::of(Path::new("/x/vmlinux"), None, Some(config), None))
    }

    fn complete() -> String {
        let options = FEATURES_OF_A_GUEST.map(|feature| feature.option);
        options
            .iter()
            .chain(&FINDS_DEVICES)
            .map(|option| format!("CONFIG_{option}=y\n"))
            .collect::<Vec<_>>()
            .concat()
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(with(Driver::Firecracker, &complete()).severity, Fine);
        let without = |option: &str| complete().replace(&format!("CONFIG_{option}=y\n"), "");
        let finding = with(Driver::Qemu, &without("SQUASHFS_ZSTD"));
        assert!(
            finding.severity == Error && finding.found.contains("CONFIG_SQUASHFS_ZSTD (squashfs with zstd)"),
            "{finding:?}"
        );
        let finding = with(Driver::Firecracker, &without("VMGENID"));
        assert!(finding.severity == Warning && finding.found.contains("CONFIG_VMGENID"), "{finding:?}");
        let one = without("ACPI");
        assert_eq!(with(Driver::Firecracker, &one).severity, Fine, "one way to find devices is enough");
        let none = one.replace("CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n", "");
        assert!(with(Driver::Firecracker, &none).found.contains("CONFIG_ACPI or CONFIG_VIRTIO_MMIO_CMD"));
        let module = complete().replace("CONFIG_EXT4_FS=y", "CONFIG_EXT4_FS=m");
        assert!(with(Driver::Qemu, &module).found.contains("not in kernel.modules"));
    }

    #[test]
    fn each_driver_has_its_own_channel() {
        let of = |driver, option: &str| {
            with(driver, &complete().replace(&format!("CONFIG_{option}=y\n"), "")).severity
        };
        assert_eq!([of(Driver::Qemu, "VIRTIO_VSOCKETS"), of(Driver::Qemu, "VIRTIO_CONSOLE")], [Fine, Error]);
        assert_eq!(
            [of(Driver::Firecracker, "VIRTIO_VSOCKETS"), of(Driver::Firecracker, "VIRTIO_CONSOLE")],
            [Error, Fine]
        );
    }

    #[test]
    fn nothing_to_read_is_said() {
        let finding = judge(Driver::Qemu, "vmlinux", &Known::default());
        assert!(finding.severity == Warning && finding.found.contains("only a boot shows"), "{finding:?}");
    }
}
