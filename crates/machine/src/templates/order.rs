//! What a template is made from, and who may be cloned.

use std::path::PathBuf;

use fireactions_image::RootImage;
use fireactions_model::{Digest, HugePages, InitMode, PoolSpec, Shape, StartMode};
use fireactions_vmm::boot::BootFiles;
use fireactions_vmm::{Capabilities, Vmm};

use super::key::Ingredients;

/// Whether the image's own programs may find something of their pool's while they come up: cloud-init, say, which looks once.
/// A template has no metadata, for it is nobody's.
fn is_read_at_boot(pool: &PoolSpec, capabilities: Capabilities) -> bool {
    let has_metadata = pool.metadata.as_object().is_some_and(|own| !own.is_empty());
    capabilities.metadata && (has_metadata || pool.user_data.is_some())
}

/// Whether machines of this pool may be clones.
fn allowed(pool: &PoolSpec, capabilities: Capabilities) -> bool {
    pool.start == StartMode::Snapshot
        && capabilities.snapshot
        && !(pool.init == InitMode::Image && is_read_at_boot(pool, capabilities))
        // Reserved pages are this machine's own.
        && pool.hardware.huge_pages != HugePages::Hugetlbfs
}

/// What a template is made from.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) key: Digest,
    pub(crate) ingredients: Ingredients,
    pub(crate) pool: PoolSpec,
    pub(crate) shape: Shape,
    /// The image. What is only wanted keeps nobody from removing it, so this is no [`RootImage`].
    pub(crate) image: Digest,
    /// The image's squashfs file.
    pub(crate) root: PathBuf,
    pub(crate) boot: BootFiles,
    /// How many guests were begun for it and found no timer.
    pub(super) guests: u32,
}

impl Order {
    /// The template that machines of this pool and shape are cloned from, if they may be.
    pub(crate) fn new(
        vmm: &dyn Vmm,
        pool: &PoolSpec,
        shape: &Shape,
        root: &RootImage,
        boot: &BootFiles,
    ) -> Option<Self> {
        if !allowed(pool, vmm.capabilities()) {
            return None;
        }
        let ingredients = Ingredients::new(pool, shape, &root.digest, boot, vmm.fingerprint());
        Some(Self {
            key: ingredients.key(),
            ingredients,
            pool: pool.clone(),
            shape: shape.clone(),
            image: root.digest.clone(),
            root: root.path.clone(),
            boot: boot.clone(),
            guests: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use fireactions_model::{ImageRef, PoolName};

    use super::*;

    fn pool() -> PoolSpec {
        let image = ImageRef::new("debian:12").unwrap();
        let shape = Shape { image, vcpus: 1, memory_mib: 256, disk_mib: 512 };
        PoolSpec::new(PoolName::new("p").unwrap(), shape)
    }

    #[test]
    fn a_clone_needs_a_driver_that_can_and_a_pool_that_wants() {
        let can = Capabilities { snapshot: true, ..Default::default() };
        assert!(allowed(&pool(), can));
        assert!(!allowed(&pool(), Capabilities::default()));
        assert!(!allowed(&PoolSpec { start: StartMode::Boot, ..pool() }, can));
        let own_init = PoolSpec { init: InitMode::Image, ..pool() };
        let with_metadata = Capabilities { metadata: true, ..can };
        assert!(allowed(&own_init, can) && allowed(&own_init, with_metadata));
        let user_data = PoolSpec { user_data: Some("#cloud-config".into()), ..own_init.clone() };
        let metadata = PoolSpec { metadata: serde_json::json!({"a": "b"}), ..own_init };
        for pool in [user_data, metadata] {
            assert!(allowed(&pool, can) && !allowed(&pool, with_metadata), "its init may have read it");
            assert!(allowed(&PoolSpec { init: InitMode::Agent, ..pool }, with_metadata));
        }
        for (huge_pages, yes) in
            [(HugePages::None, true), (HugePages::Transparent, true), (HugePages::Hugetlbfs, false)]
        {
            let mut pool = pool();
            pool.hardware.huge_pages = huge_pages;
            assert_eq!(allowed(&pool, can), yes, "{huge_pages:?}");
        }
    }
}
