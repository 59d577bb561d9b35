//! Templates that no machine of this server can be cloned from any more: the agent, the modules, a kernel, the VMM or
//! the host's CPU is another.

use std::collections::HashSet;

use fireactions_vmm::boot as boot_files;

use super::key::{Ingredients, name};
use crate::parts::Parts;

/// Removes them. What cannot be told now is left to the image store's limits.
pub(super) async fn remove(parts: &Parts) {
    let settings = &parts.settings;
    let mut current = HashSet::new();
    for pool in settings.pools.values() {
        let Some((kernel, modules)) = settings.kernel_of(pool) else { return };
        // Made already: this only looks.
        match boot_files::prepare(&settings.boot_dir, kernel, modules, &settings.agent).await {
            Ok(boot) => {
                current.insert((name(&boot.kernel), name(&boot.initrd), boot.modules.as_deref().map(name)))
            }
            Err(error) => {
                tracing::debug!(%error, "outdated templates cannot be searched for");
                return;
            }
        };
    }
    let vmm = parts.vmm.fingerprint();
    for info in parts.images.templates().await {
        let made_of = serde_json::from_value::<Ingredients>(info.made_of).ok();
        let of_use = made_of.is_some_and(|made_of| {
            made_of.key() == info.key
                && made_of.vmm == vmm
                && current.contains(&(made_of.kernel, made_of.initrd, made_of.modules))
        });
        if of_use {
            continue;
        }
        match parts.images.remove_template(&info.key).await {
            Ok(()) => tracing::info!(key = info.key.hex(), "outdated template removed"),
            Err(error) => tracing::warn!(%error, "an outdated template could not be removed"),
        }
    }
}
