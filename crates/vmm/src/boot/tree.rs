//! All of a kernel's modules as one read-only squashfs, which machines share. What the agent has loaded from the
//! initramfs lets a guest start; this is for the job: Docker, `modprobe`, and what the kernel asks for by itself.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BootError, TEMPORARY, failed, short_hash};

/// Names how trees are packed; a change of options is a new name.
const FORMAT: &str = "1";

/// The packer, of squashfs-tools-ng, where `tar2sqfs` is too.
const PACKER: &str = "gensquashfs";

/// Most files of a tree. Distributions' kernels have some 5,000.
const MOST_FILES: usize = 50_000;

/// Packs `modules` (a `/lib/modules/VERSION`) into `dir`, or finds it there. The root of the file system is what is in
/// `modules`.
pub(super) fn make(dir: &Path, modules: &Path) -> Result<PathBuf, BootError> {
    let path = dir.join(format!("{PREFIX}{}.squashfs", name(modules)?));
    if path.exists() {
        return Ok(path);
    }
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(dir)
        .map_err(|source| failed("write", &path, source))?;
    let output = Command::new(PACKER)
        .args(["--quiet", "--force", "--all-root", "--compressor", "zstd", "--comp-extra", "level=3"])
        .arg("--pack-dir")
        .arg(modules)
        .arg(temporary.path())
        // The same tree is the same file, byte for byte.
        .env("SOURCE_DATE_EPOCH", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BootError::NoPacker,
            _ => failed("run gensquashfs on", modules, source),
        })?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.trim().lines().next_back().unwrap_or("it says nothing");
        return Err(failed("pack the modules of", modules, io::Error::other(format!("{PACKER}: {last}"))));
    }
    let publish = || -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        temporary.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        // The packer has written by the name: what it wrote is synced by whatever opens it again.
        std::fs::File::open(temporary.path())?.sync_all()?;
        temporary.persist(&path).map_err(|error| error.error)?;
        std::fs::File::open(dir)?.sync_all()
    };
    publish().map_err(|source| failed("write", &path, source))?;
    Ok(path)
}

/// How the file's name begins.
pub(super) const PREFIX: &str = "modules-";

/// Names a tree by what can be seen of it without reading it: paths, sizes, times. Reading all of it would take a second
/// at each start of the server.
fn name(modules: &Path) -> Result<String, BootError> {
    let mut seen = Vec::new();
    list(modules, Path::new(""), &mut seen)?;
    seen.sort();
    let parts: Vec<&[u8]> =
        [FORMAT.as_bytes()].into_iter().chain(seen.iter().map(String::as_bytes)).collect();
    Ok(short_hash(&parts))
}

fn list(top: &Path, below: &Path, seen: &mut Vec<String>) -> Result<(), BootError> {
    let dir = top.join(below);
    let unreadable = |source| failed("read the modules in", &dir, source);
    for entry in std::fs::read_dir(&dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let meta: Metadata = entry.metadata().map_err(unreadable)?;
        let path = below.join(entry.file_name());
        if seen.len() >= MOST_FILES {
            let why = format!("it has more than {MOST_FILES} files; is it a /lib/modules/VERSION directory?");
            return Err(failed("use the modules in", top, io::Error::other(why)));
        }
        if meta.is_dir() {
            list(top, &path, seen)?;
        } else {
            seen.push(format!("{} {} {} {}\n", path.display(), meta.len(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_tree_is_packed_once_and_anew_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (boot, modules) = (dir.path().join("boot"), dir.path().join("6.1.0-x"));
        std::fs::create_dir(&boot).unwrap();
        std::fs::create_dir_all(modules.join("kernel/net")).unwrap();
        std::fs::write(modules.join("modules.dep"), "kernel/net/veth.ko:\n").unwrap();
        std::fs::write(modules.join("kernel/net/veth.ko"), "object").unwrap();
        symlink("/usr/src/linux-headers", modules.join("build")).unwrap();

        let first = make(&boot, &modules).unwrap();
        assert!(std::fs::read(&first).unwrap().starts_with(b"hsqs"));
        let made = std::fs::metadata(&first).unwrap();
        assert_eq!(make(&boot, &modules).unwrap(), first);
        assert_eq!(std::fs::metadata(&first).unwrap().ino(), made.ino(), "made again");

        std::fs::write(modules.join("kernel/net/veth.ko"), "another object").unwrap();
        assert_ne!(make(&boot, &modules).unwrap(), first);
        assert_eq!(std::fs::read_dir(&boot).unwrap().count(), 2, "nothing temporary is left");
    }

    #[test]
    fn what_cannot_be_packed_is_said_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let error = make(dir.path(), &dir.path().join("absent")).unwrap_err().to_string();
        assert!(error.contains("absent") && error.contains("No such file"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
