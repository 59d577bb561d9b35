//! Kernel modules, from the initramfs. The host has put them in dependency order, so that no modprobe is needed.

use std::fs::File;
use std::path::Path;

use rustix::io::Errno;

use crate::console::say;

const DIR: &str = "/modules";

/// Loads what `/modules/modules.list` names, one file a line, then frees the memory that the files take.
///
/// A module that cannot be loaded is said and passed over: whether it was needed shows when the root is mounted,
/// and a kernel with the driver built in needs none of them.
pub(crate) fn load() {
    let dir = Path::new(DIR);
    // No list: a kernel with everything built in.
    let Ok(list) = std::fs::read_to_string(dir.join("modules.list")) else { return };
    for name in list.lines().map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#')) {
        if let Err(error) = load_one(&dir.join(name)) {
            say(format_args!("kernel module {name} is not loaded: {error}"));
        }
    }
    let _ = std::fs::remove_dir_all(dir);
}

fn load_one(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    match rustix::system::finit_module(&file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
