//! The kernel's own file systems: first in the initramfs, later moved into the root.

use std::ffi::CStr;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::console::say;

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC).union(MountFlags::NODEV);

/// `/proc`, `/sys` and `/dev`: what is needed to find modules, devices and the host.
pub(crate) fn early() -> Result<(), String> {
    for (target, kind, flags, data) in [
        ("/proc", "proc", PLAIN, None),
        ("/sys", "sysfs", PLAIN, None),
        ("/dev", "devtmpfs", MountFlags::NOSUID, Some(c"mode=0755")),
    ] {
        std::fs::create_dir_all(target).map_err(|error| format!("cannot make {target}: {error}"))?;
        fasten(kind, target, flags, data).map_err(|error| format!("cannot mount {target}: {error}"))?;
    }
    Ok(())
}

/// The rest, once the root is `/`. None of these is worth a failed boot; what is missing is said.
///
/// `keep_run`: `/run` gets the directories that the image has there (a `/run/mysqld`, say), which an image's own init
/// would make itself; and `/etc/mtab` is made where there is none.
pub(crate) fn late(keep_run: bool) {
    let run = if keep_run { crate::root::skeleton(Path::new("/run")) } else { Vec::new() };
    for (target, kind, flags, data) in [
        ("/dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, Some(c"gid=5,mode=620,ptmxmode=666")),
        ("/dev/shm", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=1777")),
        ("/dev/mqueue", "mqueue", PLAIN, None),
        ("/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=0755,size=25%")),
        ("/sys/fs/cgroup", "cgroup2", PLAIN, Some(c"nsdelegate,memory_recursiveprot")),
    ] {
        // In /sys the directory is the kernel's: it is there or it cannot be made.
        let _ = std::fs::create_dir_all(target);
        if let Err(error) = fasten(kind, target, flags, data) {
            say(format_args!("cannot mount {target}: {error}"));
        }
    }
    for entry in run {
        entry.make();
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        let _ = symlink(target, Path::new("/dev").join(name));
    }
    if make_tmp().is_err() {
        say("cannot make /tmp");
    }
    // No image has it: container engines and systemd make it. Whoever lists mounts the old way (setmntent(3): fusermount, say)
    // looks there.
    let mtab = Path::new("/etc/mtab");
    if keep_run && mtab.symlink_metadata().is_err() {
        let _ = symlink("/proc/mounts", mtab);
    }
}

/// Mounts that are made later are seen in mount namespaces made before, as in any system that systemd has started:
/// container engines rely on it.
pub(crate) fn share() {
    if let Err(error) = mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC) {
        say(format_args!("cannot make the mounts shared: {error}"));
    }
}

/// Lets a job that needs more memory than there is be killed within seconds.
///
/// Without swap the kernel otherwise frees and reads back the pages of running programs for minutes, makes "progress"
/// by that, and kills nothing. Its remedy, where it has the multi-generational LRU (Linux 6.1, `admin-guide/mm/
/// multigen_lru.rst`), is to keep what was used in the last `min_ttl_ms` or else to call the OOM killer.
pub(crate) fn prevent_thrashing() {
    let dir = Path::new("/sys/kernel/mm/lru_gen");
    if std::fs::write(dir.join("enabled"), "y").is_ok() {
        let _ = std::fs::write(dir.join("min_ttl_ms"), "1000");
    }
}

/// Lets every user send and receive ICMP echoes without a capability, as container engines and distributions do: a `ping`
/// that has none works then.
pub(crate) fn open_ping() {
    // A kernel without IPv4 has no such file, and nothing to ping.
    let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
}

fn make_tmp() -> io::Result<()> {
    for path in ["/tmp", "/var/tmp"] {
        if !Path::new(path).exists() {
            std::fs::create_dir_all(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o1777))?;
        }
    }
    Ok(())
}

fn fasten(kind: &str, target: &str, flags: MountFlags, data: Option<&CStr>) -> io::Result<()> {
    match mount(kind, target, kind, flags, data) {
        // Options that an older kernel does not know are not worth going without the file system.
        Err(Errno::INVAL) if data.is_some() => {
            mount(kind, target, kind, flags, None).map_err(io::Error::from)
        }
        // devtmpfs may have been mounted by the kernel (CONFIG_DEVTMPFS_MOUNT).
        Err(Errno::BUSY) => Ok(()),
        other => other.map_err(io::Error::from),
    }
}
