//! What a template depends on.

use std::path::Path;

use fireactions_model::{Digest, GuestSetup, Hardware, InitMode, PoolSpec, Shape};
use fireactions_vmm::boot::BootFiles;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Of the way templates are made. Those of another version are not used.
const FORMAT: u32 = 5;

/// Everything that a clone must have in common with its template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ingredients {
    format: u32,
    image: Digest,
    /// Named after its content.
    pub(super) kernel: String,
    /// Named after its content: agent and modules.
    pub(super) initrd: String,
    /// Named after the tree that it was packed from.
    pub(super) modules: Option<String>,
    args: String,
    /// Whose programs have run.
    init: InitMode,
    vcpus: u8,
    memory_mib: u32,
    disk_mib: u32,
    /// Disks that outlive the machine, in MiB: what is on them is each clone's own.
    sticky_mib: Vec<u32>,
    /// The limiter of the card is a part of the frozen VMM.
    bandwidth_mbit: Option<u32>,
    hardware: Hardware,
    guest: GuestSetup,
    /// Driver, version, accelerator, CPU.
    pub(super) vmm: String,
}

impl Ingredients {
    pub(crate) fn new(pool: &PoolSpec, shape: &Shape, image: &Digest, boot: &BootFiles, vmm: String) -> Self {
        Self {
            format: FORMAT,
            image: image.clone(),
            kernel: name(&boot.kernel),
            initrd: name(&boot.initrd),
            modules: boot.modules.as_deref().map(name),
            args: pool.kernel.args.clone(),
            init: pool.init,
            vcpus: shape.vcpus,
            memory_mib: shape.memory_mib,
            disk_mib: shape.disk_mib,
            sticky_mib: pool.sticky.iter().map(|dir| dir.size_mib).collect(),
            bandwidth_mbit: pool.network.bandwidth_mbit,
            hardware: pool.hardware.clone(),
            guest: pool.guest.clone(),
            vmm,
        }
    }

    /// The template's name. Changes with every ingredient.
    pub(crate) fn key(&self) -> Digest {
        // Fields are written in the order above, and no map is among them.
        let text = serde_json::to_vec(self).unwrap_or_default();
        Digest::from_sha256(Sha256::digest(&text).into())
    }
}

/// The name of a boot file, which is made of its content.
pub(super) fn name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::PathBuf;

    use fireactions_model::{DiskLimits, HugePages, ImageRef, MmdsVersion, PoolName, StickyDir};

    use super::*;

    #[test]
    fn every_ingredient_makes_another_key_and_nothing_else_does() {
        let shape =
            Shape { image: ImageRef::new("debian:12").unwrap(), vcpus: 1, memory_mib: 256, disk_mib: 512 };
        let pool = PoolSpec::new(PoolName::new("p").unwrap(), shape.clone());
        let image = Digest::from_sha256([1; 32]);
        let boot = BootFiles {
            kernel: PathBuf::from("/boot/kernel-1"),
            initrd: PathBuf::from("/boot/initramfs-1.cpio"),
            modules: Some(PathBuf::from("/boot/modules-1.squashfs")),
        };
        let key = |pool: &PoolSpec, shape: &Shape, image: &Digest, boot: &BootFiles, vmm: &str| {
            Ingredients::new(pool, shape, image, boot, vmm.to_owned()).key()
        };
        let of_pool = |change: &dyn Fn(&mut PoolSpec)| {
            let mut pool = pool.clone();
            change(&mut pool);
            key(&pool, &shape, &image, &boot, "qemu 7.2")
        };
        let of_shape = |change: &dyn Fn(&mut Shape)| {
            let mut shape = shape.clone();
            change(&mut shape);
            key(&pool, &shape, &image, &boot, "qemu 7.2")
        };
        let sticky = |key: &str, size_mib| StickyDir { path: format!("/{key}"), key: key.into(), size_mib };
        let first = key(&pool, &shape, &image, &boot, "qemu 7.2");
        let other = vec![
            key(&pool, &shape, &Digest::from_sha256([2; 32]), &boot, "qemu 7.2"),
            key(
                &pool,
                &shape,
                &image,
                &BootFiles { kernel: "/boot/kernel-2".into(), ..boot.clone() },
                "qemu 7.2",
            ),
            key(&pool, &shape, &image, &BootFiles { initrd: "/boot/i-2".into(), ..boot.clone() }, "qemu 7.2"),
            key(&pool, &shape, &image, &BootFiles { modules: None, ..boot.clone() }, "qemu 7.2"),
            key(&pool, &shape, &image, &boot, "qemu 8.0"),
            of_shape(&|shape| shape.vcpus = 2),
            of_shape(&|shape| shape.memory_mib = 512),
            of_shape(&|shape| shape.disk_mib = 1024),
            of_pool(&|pool| pool.kernel.args = "quiet".into()),
            of_pool(&|pool| pool.init = InitMode::Image),
            of_pool(&|pool| pool.network.bandwidth_mbit = Some(10)),
            of_pool(&|pool| pool.guest.modules_load = vec!["veth".into()]),
            of_pool(&|pool| pool.guest.data_dirs = vec!["/srv".into()]),
            of_pool(&|pool| pool.guest.work_folder = Some("_work".into())),
            of_pool(&|pool| pool.guest.swap_mib = 64),
            of_pool(&|pool| pool.sticky = vec![sticky("a", 64)]),
            of_pool(&|pool| pool.sticky = vec![sticky("a", 128)]),
            of_pool(&|pool| pool.sticky = vec![sticky("a", 64), sticky("b", 64)]),
            of_pool(&|pool| pool.hardware.console = true),
            of_pool(&|pool| pool.hardware.huge_pages = HugePages::Transparent),
            of_pool(&|pool| pool.hardware.disk_limits = DiskLimits { iops: Some(1), ..Default::default() }),
            of_pool(&|pool| pool.hardware.mmds = MmdsVersion::V1),
            of_pool(&|pool| pool.hardware.cpu_template = Some("T2S".into())),
        ];
        let count = other.len();
        let all: HashSet<Digest> = other.into_iter().chain([first.clone()]).collect();
        assert_eq!(all.len(), count + 1);

        // Where the boot files lie, the pool's name, and what a tag is called do not matter.
        let elsewhere = BootFiles {
            kernel: "/x/kernel-1".into(),
            initrd: "/x/initramfs-1.cpio".into(),
            modules: Some("/x/modules-1.squashfs".into()),
        };
        assert_eq!(key(&pool, &shape, &image, &elsewhere, "qemu 7.2"), first);
        assert_eq!(of_pool(&|pool| pool.name = PoolName::new("q").unwrap()), first);
        assert_eq!(of_pool(&|pool| pool.min_runners = 3), first);
        assert_eq!(
            of_pool(&|pool| pool.sticky = vec![sticky("a", 64)]),
            of_pool(&|pool| pool.sticky = vec![sticky("other", 64)]),
            "which directories they are is told with the identity"
        );
        assert_eq!(of_shape(&|shape| shape.image = ImageRef::new("debian:stable").unwrap()), first);
    }
}
