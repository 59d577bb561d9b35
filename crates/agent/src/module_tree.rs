//! All modules of the kernel, from the host, at `/lib/modules/RELEASE` of the machine's root.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount, mount_move};

use crate::console::say;
use crate::{inside, modules, root};

/// Where the tree is until the root is switched.
const TREE: &str = "/.fireactions/modules";

/// Mounts the tree on `device`, and loads `names` with what they need, in this order. Without a tree, they are taken to be
/// built into the kernel, which does not say all that is.
pub(crate) fn load(device: Option<&Path>, names: &[String]) -> Result<(), String> {
    if let Some(device) = device {
        let mounted = std::fs::create_dir_all(TREE).map_err(|error| error.to_string()).and_then(|()| {
            root::wait_for(device)?;
            mount(device, TREE, "squashfs", MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID, None)
                .map_err(|error| error.to_string())
        });
        mounted
            .map_err(|error| format!("cannot mount the kernel's modules {}: {error}", device.display()))?;
    }
    if names.is_empty() {
        return Ok(());
    }
    let read = |name: &str| std::fs::read_to_string(Path::new(TREE).join(name)).unwrap_or_default();
    let index = Index::new(&read("modules.dep"));
    let builtin: HashSet<String> = read("modules.builtin").lines().map(module_name).collect();
    for name in names {
        let name = name.replace('-', "_");
        let Some(order) = index.order(&name) else {
            if builtin.contains(&name) || Path::new("/sys/module").join(&name).exists() {
                continue;
            }
            let release = rustix::system::uname().release().to_string_lossy().into_owned();
            if device.is_none() {
                // Of what is built in, only what has parameters is in /sys/module.
                say(format_args!("kernel module '{name}' is taken to be built into the kernel {release}"));
                continue;
            }
            return Err(format!(
                "kernel module '{name}' is neither built into the kernel {release} nor among its modules"
            ));
        };
        for path in order {
            modules::insert(&Path::new(TREE).join(&path)).map_err(|error| {
                format!("kernel module '{name}' cannot be loaded: {}: {error}", path.display())
            })?;
        }
    }
    Ok(())
}

/// Where the running kernel's modules are in a machine.
pub(crate) fn home() -> PathBuf {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    Path::new("/lib/modules").join(release)
}

/// Moves the tree into the machine's root, over what the image has there. An image whose `/lib/modules` cannot be used
/// goes without.
pub(crate) fn place() -> Result<(), String> {
    let at = home();
    match inside::directory(Path::new(root::ROOT), &at) {
        Ok(directory) => mount_move(TREE, inside::path_of(&directory))
            .map_err(|error| format!("cannot move the kernel's modules to {}: {error}", at.display())),
        Err(error) => {
            say(format_args!("the kernel's modules are not at {}: {error}", at.display()));
            Ok(())
        }
    }
}

/// `modules.dep`.
struct Index {
    path_of: HashMap<String, PathBuf>,
    needs: HashMap<PathBuf, Vec<PathBuf>>,
}

impl Index {
    fn new(text: &str) -> Self {
        let mut index = Self { path_of: HashMap::new(), needs: HashMap::new() };
        for (path, needs) in text.lines().filter_map(|line| line.split_once(':')) {
            index.path_of.insert(module_name(path), PathBuf::from(path));
            // Complete, and the last is to be loaded first.
            index
                .needs
                .insert(PathBuf::from(path), needs.split_whitespace().rev().map(PathBuf::from).collect());
        }
        index
    }

    /// What to load for a module, itself last.
    fn order(&self, name: &str) -> Option<Vec<PathBuf>> {
        let path = self.path_of.get(name)?;
        let mut order = self.needs.get(path).cloned().unwrap_or_default();
        order.push(path.clone());
        Some(order)
    }
}

/// `kernel/net/a-b.ko.xz` is `a_b`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split_once(".ko").map_or(file, |(name, _)| name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_before_it() {
        let index = Index::new(
            "kernel/net/bridge/br-netfilter.ko.xz: kernel/net/bridge/bridge.ko.xz kernel/net/stp.ko.xz kernel/net/llc.ko.xz\n\
             kernel/net/llc.ko.xz:\n",
        );
        let order = index.order("br_netfilter").unwrap();
        let names: Vec<_> = order.iter().map(|path| module_name(path.to_str().unwrap())).collect();
        assert_eq!(names, ["llc", "stp", "bridge", "br_netfilter"]);
        assert_eq!(index.order("llc").unwrap().len(), 1);
        assert!(index.order("absent").is_none());
    }
}
