//! Which kernel modules a guest needs before it has its root, in the order in which they load.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::BootError;
use super::compress::decompress;

/// What the guest needs: its devices, its root's file systems, its way to the host. A name that is not in
/// `modules.dep` is built into the kernel or missing from it; the agent says which when it needs it.
const WANTED: &[&str] = &[
    "virtio_mmio",
    "virtio_console",
    "virtio_blk",
    "squashfs",
    "ext4",
    "overlay",
    "virtio_net",
    "vmw_vsock_virtio_transport",
    "virtio_balloon",
    "virtio_rng",
];

/// Largest module that is read, decompressed.
const MODULE_MAX: usize = 64 << 20;

/// A module ready to be loaded.
#[derive(Debug)]
pub(crate) struct Module {
    /// File name without compression suffix, `virtio_net.ko`.
    pub(crate) name: String,
    /// The object, decompressed, so that the agent can hand it to the kernel as it is.
    pub(crate) object: Vec<u8>,
}

/// Reads the wanted modules of `dir` (a `/lib/modules/VERSION`) and everything they depend on, dependencies first.
pub(crate) fn read(dir: &Path) -> Result<Vec<Module>, BootError> {
    let index = dir.join("modules.dep");
    let text =
        std::fs::read_to_string(&index).map_err(|source| BootError::Modules { path: index, source })?;
    let mut modules = Vec::new();
    for path in order(&text, WANTED) {
        let full = dir.join(&path);
        let packed = std::fs::read(&full).map_err(|source| BootError::File {
            action: "read the module",
            path: full.clone(),
            source,
        })?;
        let object = decompress(&packed, MODULE_MAX).map_err(|source| BootError::File {
            action: "decompress the module",
            path: full.clone(),
            source,
        })?;
        modules.push(Module { name: file_name(&path), object });
    }
    Ok(modules)
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match name.find(".ko") {
        Some(end) => name[..end + 3].to_owned(),
        None => name,
    }
}

/// `-` and `_` are the same in module names.
fn module_name(path: &Path) -> String {
    file_name(path).trim_end_matches(".ko").replace('-', "_")
}

/// Load order. A line of `modules.dep` is `path: dependency…`; the dependencies are complete and the last is to
/// be loaded first, but they are followed one by one all the same, which is right for any order.
fn order(text: &str, wanted: &[&str]) -> Vec<PathBuf> {
    let mut by_name = BTreeMap::new();
    let mut needs: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for (path, dependencies) in text.lines().filter_map(|line| line.split_once(':')) {
        let path = PathBuf::from(path.trim());
        by_name.insert(module_name(&path), path.clone());
        needs.insert(path, dependencies.split_whitespace().rev().map(PathBuf::from).collect());
    }
    let mut done = Vec::new();
    let mut seen = HashSet::new();
    for path in wanted.iter().filter_map(|name| by_name.get(*name)) {
        visit(path, &needs, &mut seen, &mut done);
    }
    done
}

fn visit(
    path: &Path,
    needs: &BTreeMap<PathBuf, Vec<PathBuf>>,
    seen: &mut HashSet<PathBuf>,
    done: &mut Vec<PathBuf>,
) {
    if !seen.insert(path.to_owned()) {
        return; // loaded already, or a circle, which depmod reports and no kernel could load
    }
    for dependency in needs.get(path).into_iter().flatten() {
        visit(dependency, needs, seen, done);
    }
    done.push(path.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_once() {
        let text = "kernel/a/virtio_net.ko.xz: kernel/net_failover.ko.xz kernel/failover.ko.xz kernel/virtio.ko.xz kernel/virtio-ring.ko.xz\n\
                    kernel/net_failover.ko.xz: kernel/failover.ko.xz\n\
                    kernel/failover.ko.xz:\n\
                    kernel/virtio.ko.xz: kernel/virtio-ring.ko.xz\n\
                    kernel/virtio-ring.ko.xz:\n\
                    kernel/virtio_blk.ko.xz: kernel/virtio.ko.xz kernel/virtio-ring.ko.xz\n";
        let names: Vec<_> = order(text, &["virtio_blk", "absent", "virtio_net", "virtio_ring"])
            .iter()
            .map(|path| file_name(path))
            .collect();
        assert_eq!(
            names,
            [
                "virtio-ring.ko",
                "virtio.ko",
                "virtio_blk.ko",
                "failover.ko",
                "net_failover.ko",
                "virtio_net.ko"
            ]
        );
    }

    #[test]
    fn circles_end() {
        let text = "a.ko: b.ko\nb.ko: a.ko\n";
        assert_eq!(order(text, &["a"]).len(), 2);
    }

    #[test]
    fn a_missing_index_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("modules.dep") && error.contains("depmod"), "{error}");
    }
}
