//! The jail as the root directory that it is to the real Firecracker: no link and no `..` leads out of it. The stand-in is not
//! jailed so, for it needs the host's QEMU; the jail is its working directory.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows (`path_resolution(7)`).
const LINKS_MAX: u32 = 40;

/// Whether this process is in a jail.
pub(crate) fn is_jailed() -> bool {
    Path::new("dev/net/tun").exists()
}

/// Where a path leads: in the jail, seen from there.
pub(crate) fn host_path(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    if is_jailed() { resolve(Path::new("."), path) } else { path.to_owned() }
}

/// Where a path leads when `jail` is the root directory, seen from there; what does not exist leads to itself.
fn resolve(jail: &Path, path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    let mut left = backwards(path);
    let mut links = 0;
    while let Some(part) = left.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => found.clear(),
            Some(Component::ParentDir) => drop(found.pop()),
            Some(Component::Normal(name)) => {
                found.push(name);
                if let Ok(target) = fs::read_link(jail.join(&found))
                    && links < LINKS_MAX
                {
                    links += 1;
                    found.pop();
                    left.extend(backwards(&target));
                }
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    if found.as_os_str().is_empty() { PathBuf::from(".") } else { found }
}

/// A path's parts, the last one first.
fn backwards(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_of_the_jail() {
        let host = tempfile::tempdir().unwrap();
        let jail = host.path().join("jail");
        fs::create_dir_all(jail.join("dir")).unwrap();
        fs::write(host.path().join("secret"), "the host's").unwrap();
        fs::write(jail.join("secret"), "the jail's").unwrap();
        symlink(host.path().join("secret"), jail.join("absolute")).unwrap();
        symlink("../secret", jail.join("relative")).unwrap();
        symlink("../../secret", jail.join("dir/upwards")).unwrap();
        symlink("/dir", jail.join("again")).unwrap();
        symlink("loop", jail.join("loop")).unwrap();
        let read = |path: &str| fs::read_to_string(jail.join(resolve(&jail, Path::new(path)))).ok();
        assert_eq!(read("absolute"), None, "there is no such directory in the jail");
        for path in [
            "secret",
            "/secret",
            "../secret",
            "/dir/../../secret",
            "relative",
            "dir/upwards",
            "/again/upwards",
            "./again/../secret",
        ] {
            assert_eq!(read(path).as_deref(), Some("the jail's"), "{path}");
        }
        assert_eq!(read("loop"), None);
        assert_eq!(resolve(&jail, Path::new("/dir/new")), Path::new("dir/new"));
        assert_eq!(resolve(&jail, Path::new("/")), Path::new("."));
    }
}
