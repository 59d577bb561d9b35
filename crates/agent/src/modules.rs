//! Kernel modules, from the initramfs. The host has put them in dependency order, so that no modprobe is needed.

use std::fs::File;
use std::path::Path;

use rustix::io::Errno;

use crate::console::say;

const DIR: &str = "/modules";

/// `MODULE_INIT_COMPRESSED_FILE` (Linux 5.17): the kernel unpacks the file itself.
const COMPRESSED: i32 = 4;

/// Loads what `/modules/modules.list` names, one file a line, then frees the memory that the files take.
///
/// A module that cannot be loaded is said and passed over: whether it was needed shows when the root is mounted,
/// and a kernel with the driver built in needs none of them.
pub(crate) fn load() {
    let dir = Path::new(DIR);
    // No list: a kernel with everything built in.
    let Ok(list) = std::fs::read_to_string(dir.join("modules.list")) else { return };
    for name in list.lines().map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#')) {
        if let Err(error) = insert(&dir.join(name)) {
            say(format_args!("kernel module {name} is not loaded: {error}"));
        }
    }
    let _ = std::fs::remove_dir_all(dir);
}

/// Loads one module's file; one that is loaded already is as good. What it needs must be loaded.
pub(crate) fn insert(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    let flags = if path.extension().is_some_and(|end| end == "ko") { 0 } else { COMPRESSED };
    match rustix::system::finit_module(&file, c"", flags) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOEXEC) => {
            Err(std::io::Error::other("the kernel refuses its format; is it a module of another kernel?"))
        }
        Err(error) => Err(error.into()),
    }
}
