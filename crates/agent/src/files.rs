//! Files, directories and symbolic links from the host: whole or not at all.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::stat::SFlag;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// Writes `size` bytes of `data` to `dest` and returns every path that was made: the file and its new parents. The type bits of
/// `mode` may say that it is a directory, which stays as it is where it is there, or a symbolic link, whose target is the data.
///
/// The path is absolute and without `..`. Links among the parents are followed, as everywhere in the image (`/bin` is
/// often one); a link at `dest` itself is replaced, not followed. The file appears under its name only when complete.
/// An error does not name `dest`: the host that asked for it does.
pub(crate) fn put(dest: &str, mode: u32, size: u64, data: impl Read) -> Result<Vec<PathBuf>, String> {
    let path = checked(dest)?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let mut made =
        make_parents(parent).map_err(|error| format!("cannot make {}: {error}", parent.display()))?;
    if mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits() {
        if !path.is_dir() {
            make_directory(path, mode).map_err(|error| error.to_string())?;
            made.push(path.to_owned());
        }
        return Ok(made);
    }
    let new = parent.join(format!(".fireactions-put-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let written = if mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits() {
        make_link(&new, size, data)
    } else {
        write_new(&new, mode, size, data)
    };
    let written = written.and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&new);
        return Err(error.to_string());
    }
    made.push(path.to_owned());
    Ok(made)
}

/// An absolute path without `..` that can name a file.
pub(crate) fn checked(text: &str) -> Result<&Path, String> {
    let path = Path::new(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if text.len() > 4095 || text.contains('\0') || !path.is_absolute() || !plain {
        return Err("this is not an absolute path without '..'".to_owned());
    }
    Ok(path)
}

fn make_parents(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
    for dir in missing.iter().rev() {
        std::fs::DirBuilder::new().mode(0o755).create(dir)?;
    }
    Ok(missing.into_iter().map(Path::to_owned).collect())
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))
}

fn make_link(path: &Path, size: u64, data: impl Read) -> io::Result<()> {
    // No file system has longer ones.
    let mut target = Vec::new();
    data.take(size.min(4096)).read_to_end(&mut target)?;
    if target.len() as u64 != size {
        return Err(short(target.len() as u64, size));
    }
    symlink(OsStr::from_bytes(&target), path)
}

fn short(copied: u64, size: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{copied} of {size} bytes came from the host"))
}

fn write_new(path: &Path, mode: u32, size: u64, data: impl Read) -> io::Result<()> {
    // Exclusive: a link that lies in wait under this name is not followed.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    let copied = io::copy(&mut data.take(size), &mut file)?;
    if copied != size {
        return Err(short(copied, size));
    }
    file.set_permissions(Permissions::from_mode(mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dir: &Path, name: &str) -> String {
        dir.join(name).to_str().unwrap().to_owned()
    }

    #[test]
    fn parents_are_made_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        let dest = text(dir.path(), "a/b/file");
        let made = put(&dest, 0o4755, 3, &b"abc"[..]).unwrap();
        assert_eq!(made, [dir.path().join("a/b"), dir.path().join("a"), dir.path().join("a/b/file")]);
        assert_eq!(std::fs::read(&dest).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(&dest).unwrap().permissions().mode() & 0o7777, 0o4755);
    }

    #[test]
    fn directories_and_links_are_made_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (refs, head) = (text(dir.path(), "r/refs/heads"), text(dir.path(), "r/HEAD"));
        let made = put(&refs, 0o040_750, 0, &b""[..]).unwrap();
        assert_eq!(made.last().unwrap(), Path::new(&refs));
        assert_eq!(std::fs::metadata(&refs).unwrap().permissions().mode() & 0o7777, 0o750);
        // What is there stays as it is, also behind a link.
        assert_eq!(put(&refs, 0o040_777, 0, &b""[..]).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(std::fs::metadata(&refs).unwrap().permissions().mode() & 0o7777, 0o750);
        symlink("heads", dir.path().join("r/refs/alias")).unwrap();
        put(&text(dir.path(), "r/refs/alias"), 0o040_755, 0, &b""[..]).unwrap();
        assert!(std::fs::symlink_metadata(dir.path().join("r/refs/alias")).unwrap().is_symlink());

        put(&head, 0o120_777, 10, &b"refs/heads"[..]).unwrap();
        assert_eq!(std::fs::read_link(&head).unwrap(), Path::new("refs/heads"));
        assert!(put(&head, 0o120_777, 10, &b"refs"[..]).unwrap_err().contains("4 of 10 bytes"));
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(put(&text(dir.path(), "file"), 0o040_755, 0, &b""[..]).is_err());
    }

    #[test]
    fn a_short_transfer_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let dest = text(dir.path(), "file");
        std::fs::write(&dest, "old").unwrap();
        let error = put(&dest, 0o644, 10, &b"new"[..]).unwrap_err();
        assert!(error.contains("3 of 10 bytes"), "{error}");
        assert_eq!(std::fs::read_to_string(&dest).unwrap(), "old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_at_the_destination_is_replaced_and_one_above_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::fs::write(dir.path().join("victim"), "safe").unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        symlink(dir.path().join("victim"), dir.path().join("real/file")).unwrap();
        put(&text(dir.path(), "link/file"), 0o644, 1, &b"x"[..]).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("victim")).unwrap(), "safe");
        assert_eq!(std::fs::read_to_string(dir.path().join("real/file")).unwrap(), "x");
    }

    #[test]
    fn only_plain_absolute_paths_are_taken() {
        for bad in ["", "x", "./x", "/a/../b", "../x", "/a\0b"] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
        for good in ["/a", "/a/b.c"] {
            assert!(checked(good).is_ok(), "{good:?}");
        }
        assert!(put("/", 0o644, 0, &b""[..]).is_err());
    }
}
