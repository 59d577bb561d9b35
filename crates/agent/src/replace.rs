//! Whole files in the place of others.

use std::io;
use std::path::Path;

/// Puts a whole new file in the place of whatever is there. Not through it: `/etc/resolv.conf` is often a link to
/// a place that does not exist yet.
pub(crate) fn replace(path: &Path, content: &(impl AsRef<[u8]> + ?Sized)) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let new = path.with_extension("fireactions-new");
    // Never through a link that somebody left here.
    remove(&new)?;
    std::fs::write(&new, content)?;
    // A bind mount of a file that was not there leaves a directory behind in an image that is made of such a container.
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        remove(path)?;
    }
    std::fs::rename(&new, path)
}

/// Removes whatever is there.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/resolv.conf");
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", &path).unwrap();
        replace(&path, "x\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn a_directory_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::create_dir_all(path.join("left/over")).unwrap();
        std::fs::create_dir_all(dir.path().join("hosts.fireactions-new/odd")).unwrap();
        replace(&path, "x\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
