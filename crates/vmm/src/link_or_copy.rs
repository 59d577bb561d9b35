//! The same file under another name, without copying gigabytes if that is possible.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Makes `target` the file that `source` is: a second name of it, or, where the filesystem cannot give it one (it is
/// another filesystem, or has too many already), a copy, which shares the blocks where that is possible. `target` must
/// not exist; symbolic links at `source` are followed.
pub(crate) fn link_or_copy(source: &Path, target: &Path) -> io::Result<()> {
    let source = std::fs::canonicalize(source)?;
    let error = match std::fs::hard_link(&source, target) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    // PERM: fs.protected_hardlinks, for a server that is not root.
    let copied = [Errno::XDEV, Errno::MLINK, Errno::PERM, Errno::OPNOTSUPP];
    if !copied.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        return Err(error);
    }
    let from = File::open(&source)?;
    let to = File::create_new(target)?;
    to.set_permissions(from.metadata()?.permissions())?;
    if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        return Ok(());
    }
    tracing::warn!(
        from = %source.display(), to = %target.display(), %error,
        "a file is copied for each machine; keep images, boot files and machines on one filesystem"
    );
    // In the kernel, without a way through this process's memory.
    io::copy(&mut &from, &mut &to).map(|_| ())
}

/// Moves a file that nobody else writes to any more.
pub(crate) fn move_file(source: &Path, target: &Path) -> io::Result<()> {
    match std::fs::rename(source, target) {
        Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
            link_or_copy(source, target)?;
            std::fs::remove_file(source)
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_second_name_costs_nothing_and_another_filesystem_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "content").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let other = dir.path().join("other");
        link_or_copy(&link, &other).unwrap();
        assert_eq!(std::fs::symlink_metadata(&other).unwrap().ino(), std::fs::metadata(&file).unwrap().ino());
        assert!(link_or_copy(&file, &other).is_err(), "nothing is replaced");

        let far = tempfile::tempdir_in("/dev/shm").unwrap();
        let copy = far.path().join("copy");
        link_or_copy(&file, &copy).unwrap();
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "content");
        let back = dir.path().join("back");
        move_file(&copy, &back).unwrap();
        assert!(!copy.exists() && std::fs::read_to_string(&back).unwrap() == "content");
    }
}
