//! What the jailer needs of the file system that jails are on.

use std::io;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

/// Why no jail works below this directory; `None` when nothing speaks against it. The jailer copies Firecracker into the
/// jail and makes its device files there.
///
/// # Errors
/// When the directory cannot be looked at.
pub fn unfit_for_jails(dir: &Path) -> io::Result<Option<String>> {
    let flags = statvfs(dir)?.f_flag;
    Ok(judge(dir, flags.contains(StatVfsMountFlags::NODEV), flags.contains(StatVfsMountFlags::NOEXEC)))
}

fn judge(dir: &Path, nodev: bool, noexec: bool) -> Option<String> {
    let options = match (nodev, noexec) {
        (false, false) => return None,
        (true, false) => "nodev",
        (false, true) => "noexec",
        (true, true) => "nodev,noexec",
    };
    Some(format!(
        "the file system of {} is mounted with {options}, so the jailer's device files or its copy of Firecracker cannot be \
         used there",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_a_jail_cannot_use_is_named() {
        // Each of a thread's own: the host is not touched.
        std::thread::spawn(|| {
            use nix::sched::{CloneFlags, unshare};
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)
                .expect("root is needed for a mount namespace");
            let dir = tempfile::tempdir().unwrap();
            let mount = |args: &[&str]| {
                assert!(
                    std::process::Command::new("mount").args(args).status().unwrap().success(),
                    "{args:?}"
                );
            };
            mount(&["--make-rprivate", "/"]);
            mount(&["-t", "tmpfs", "none", dir.path().to_str().unwrap()]);
            assert_eq!(unfit_for_jails(dir.path()).unwrap(), None);
            for options in ["nodev", "noexec", "nodev,noexec"] {
                mount(&["-o", &format!("remount,dev,exec,{options}"), dir.path().to_str().unwrap()]);
                let why = unfit_for_jails(dir.path()).unwrap().unwrap();
                assert!(why.contains(&format!("with {options},")), "{why}");
            }
        })
        .join()
        .unwrap();
        assert!(unfit_for_jails(Path::new("/no/such/directory")).is_err());
    }
}
