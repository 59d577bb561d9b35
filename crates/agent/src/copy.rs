//! A copy of what is in a directory, with owners, modes, times, attributes, devices and hard links.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mknod};
use rustix::fs::{
    AtFlags, CWD, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr, lsetxattr, utimensat,
};

/// Longest attribute that is copied, in bytes (the kernel's `XATTR_SIZE_MAX`), and list of names (`XATTR_LIST_MAX`).
const MOST_ATTRIBUTE: usize = 64 * 1024;

/// Copies everything in the directory `from` into the directory `to`, which is empty. Other file systems below `from` are
/// copied, too.
pub(crate) fn content(from: &Path, to: &Path) -> io::Result<()> {
    let mut linked = HashMap::new();
    // Directories get their times last: what is made in them changes these.
    let mut made = Vec::new();
    let mut todo = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = todo.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (source, target) = (entry.path(), to.join(entry.file_name()));
            let meta = fs::symlink_metadata(&source)?;
            one(&source, &target, &meta, &mut linked).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", entry.file_name().to_string_lossy()))
            })?;
            if meta.is_dir() {
                made.push((target.clone(), meta));
                todo.push((source, target));
            }
        }
    }
    made.iter().rev().try_for_each(|(path, meta)| set_times(path, meta))
}

fn one(
    source: &Path,
    target: &Path,
    meta: &Metadata,
    linked: &mut HashMap<(u64, u64), PathBuf>,
) -> io::Result<()> {
    let kind = meta.file_type();
    if !kind.is_dir() && meta.nlink() > 1 {
        if let Some(first) = linked.get(&(meta.dev(), meta.ino())) {
            return fs::hard_link(first, target);
        }
        linked.insert((meta.dev(), meta.ino()), target.to_owned());
    }
    if kind.is_dir() {
        DirBuilder::new().mode(0o700).create(target)?;
    } else if kind.is_symlink() {
        symlink(fs::read_link(source)?, target)?;
    } else if kind.is_file() {
        fs::copy(source, target)?;
    } else {
        let form = match () {
            () if kind.is_char_device() => SFlag::S_IFCHR,
            () if kind.is_block_device() => SFlag::S_IFBLK,
            () if kind.is_fifo() => SFlag::S_IFIFO,
            () => SFlag::S_IFSOCK,
        };
        mknod(target, form, Mode::from_bits_truncate(0o600), meta.rdev())?;
    }
    lchown(target, Some(meta.uid()), Some(meta.gid()))?;
    if !kind.is_symlink() {
        fs::set_permissions(target, Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    // After the owner, whose change takes capabilities away.
    attributes(source, target)?;
    if kind.is_dir() { Ok(()) } else { set_times(target, meta) }
}

fn attributes(source: &Path, target: &Path) -> io::Result<()> {
    let mut names = vec![0; MOST_ATTRIBUTE];
    let length = match llistxattr(source, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0; MOST_ATTRIBUTE];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let size = lgetxattr(source, name, &mut value)?;
        lsetxattr(target, name, &value[..size], XattrFlags::empty())?;
    }
    Ok(())
}

fn set_times(path: &Path, meta: &Metadata) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: meta.atime(), tv_nsec: meta.atime_nsec() },
        last_modification: Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() },
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_about_files_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub/deep")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("sub/file"), "text").unwrap();
        fs::set_permissions(from.join("sub/file"), Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(from.join("sub/file"), from.join("again")).unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        mknod(&from.join("pipe"), SFlag::S_IFIFO, Mode::from_bits_truncate(0o640), 0).unwrap();
        fs::File::open(from.join("sub")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();

        content(&from, &to).unwrap();

        let of = |path: &str| fs::symlink_metadata(to.join(path)).unwrap();
        assert_eq!(fs::read_to_string(to.join("again")).unwrap(), "text");
        assert_eq!(of("again").ino(), of("sub/file").ino());
        assert_eq!(of("sub/file").mode() & 0o7777, 0o4751);
        assert_eq!(of("sub").mtime(), 0);
        assert!(of("sub/deep").is_dir() && of("pipe").file_type().is_fifo());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(of("link").mtime_nsec(), fs::symlink_metadata(from.join("link")).unwrap().mtime_nsec());
    }
}
