//! Places in the machine's root before it is `/`. The image is not to be trusted: no link of its leads out.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory `path` (absolute) below `root`, made with its parents where it is missing: mode 0755, and whose the
/// directory above is. Links are followed as they will be once `root` is `/`.
pub(crate) fn directory(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    let top = rustix::fs::open(root, DIRECTORY, Mode::empty())?;
    let open = |below: &Path| openat2(&top, below, DIRECTORY, Mode::empty(), ResolveFlags::IN_ROOT);
    let mut found = top.as_fd().try_clone_to_owned()?;
    let mut below = PathBuf::new();
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        below.push(name);
        found = match open(&below) {
            Err(Errno::NOENT) => {
                match mkdirat(&found, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => {
                        let above = std::fs::metadata(path_of(&found))?;
                        lchown(path_of(&found).join(name), Some(above.uid()), Some(above.gid()))?;
                    }
                    Err(Errno::EXIST) => {
                        return Err(io::Error::other("it is a link to nowhere in the image"));
                    }
                    Err(error) => return Err(error.into()),
                }
                open(&below)?
            }
            Err(Errno::NOTDIR) => return Err(io::Error::other("it is a file in the image, not a directory")),
            other => other?,
        };
    }
    Ok(found)
}

/// The same where nothing can be made; nothing if there is no such directory.
pub(crate) fn find(root: &Path, path: &Path) -> io::Result<Option<OwnedFd>> {
    let top = rustix::fs::open(root, DIRECTORY, Mode::empty())?;
    match openat2(&top, path, DIRECTORY, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The text of a regular file, `most` bytes of it; not that of a FIFO or a device, on which a hostile image would let this hang.
pub(crate) fn text(root: &Path, path: &Path, most: u64) -> io::Result<String> {
    let top = rustix::fs::open(root, DIRECTORY, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat2(&top, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether there is a regular file.
pub(crate) fn has_file(root: &Path, path: &Path) -> bool {
    let found = rustix::fs::open(root, DIRECTORY, Mode::empty()).and_then(|top| {
        openat2(&top, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT)
    });
    found.is_ok_and(|found| File::from(found).metadata().is_ok_and(|meta| meta.is_file()))
}

/// A path by which `directory` can be mounted on and looked into, whatever its name leads to meanwhile.
pub(crate) fn path_of(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside_and_what_is_missing_is_made() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink(outside.path(), root.join("out")).unwrap();
        symlink("../../../../..", root.join("up")).unwrap();

        directory(root, Path::new("/lib/modules/6.1")).unwrap();
        assert!(root.join("usr/lib/modules/6.1").is_dir());
        directory(root, Path::new("/up/etc-of-nobody")).unwrap();
        assert!(root.join("etc-of-nobody").is_dir());
        // The link's target does not exist below the root, and what it means outside is nobody's business here.
        let error = directory(root, Path::new("/out/x")).unwrap_err();
        assert!(error.to_string().contains("a link to nowhere"), "{error}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_named_as_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for path in ["/file", "/file/below"] {
            let error = directory(dir.path(), Path::new(path)).unwrap_err().to_string();
            assert!(error.contains("it is a file"), "{path}: {error}");
        }
    }
}
