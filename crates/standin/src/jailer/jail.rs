//! The jail's directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::arguments::Arguments;

/// Directories of the jail, all the jailed user's, with mode 0700.
const DIRS: [&str; 4] = [".", "dev", "dev/net", "run"];
/// Devices of the jail, with their major and minor numbers; mode 0600.
const DEVICES: [(&str, u64, u64); 3] =
    [("dev/net/tun", 10, 200), ("dev/kvm", 10, 232), ("dev/urandom", 1, 9)];

/// Makes the jail, moves there and takes up limits and namespaces. Gives the program's name in it.
pub(crate) fn make(arguments: &Arguments) -> Result<String, String> {
    let root = arguments.chroot_base.join(&arguments.name).join(&arguments.id).join("root");
    let made = fs::create_dir_all(&root);
    made.map_err(|error| format!("Failed to create directory {}: {error}", root.display()))?;
    copy_program(arguments, &root.join(&arguments.name))?;
    if let Some(path) = &arguments.netns {
        let file =
            File::open(path).map_err(|error| format!("Failed to open file {}: {error}", path.display()))?;
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)
            .map_err(|error| format!("Failed to join network namespace: netns: {error}"))?;
    }
    if let Some(size) = arguments.fsize {
        limit(Resource::RLIMIT_FSIZE, size, "size of file")?;
    }
    limit(Resource::RLIMIT_NOFILE, arguments.no_file, "number of file descriptors")?;
    if let Some(dir) = &arguments.cgroup {
        fs::write(dir.join("cgroup.procs"), std::process::id().to_string())
            .map_err(|error| format!("Failed to move process to cgroup ({}): {error}.", dir.display()))?;
    }
    std::env::set_current_dir(&root)
        .map_err(|error| format!("Failed to change current directory: {error}"))?;
    // The real one makes and removes a directory for the old root, which fails where something is in the way.
    fs::create_dir("old_root")
        .and_then(|()| fs::remove_dir("old_root"))
        .map_err(|error| format!("Failed to create the jail root directory before pivoting root: {error}"))?;
    for dir in DIRS {
        fs::create_dir_all(dir).map_err(|error| format!("Failed to create directory /{dir}: {error}"))?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))
            .map_err(|error| format!("Failed to change permissions on /{dir}: {error}"))?;
        own(dir, arguments)?;
    }
    for (path, major, minor) in DEVICES {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        mknod(path, SFlag::S_IFCHR, mode, makedev(major, minor)).map_err(|error| {
            let error = io::Error::from(error);
            format!("Failed to create /{path} via mknod inside the jail: {error}")
        })?;
        own(path, arguments)?;
    }
    Ok(arguments.name.clone())
}

fn own(path: &str, arguments: &Arguments) -> Result<(), String> {
    chown(path, Some(arguments.uid), Some(arguments.gid))
        .map_err(|error| format!("Failed to change owner for /{path}: {error}"))
}

fn limit(resource: Resource, value: u64, name: &str) -> Result<(), String> {
    setrlimit(resource, value, value).map_err(|_| format!("Failed to set limit for resource: {name}"))
}

/// A copy, so that machines share no memory; never through a link.
fn copy_program(arguments: &Arguments, to: &Path) -> Result<(), String> {
    let from = &arguments.exec_file;
    let opened = |path: &Path, error: io::Error| format!("Failed to open {}: {error}", path.display());
    let mut source = File::open(from).map_err(|error| opened(from, error))?;
    let mode = source.metadata().map_err(|error| opened(from, error))?.mode();
    let mut target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW)
        .mode(mode)
        .open(to)
        .map_err(|error| opened(to, error))?;
    let metadata = target.metadata().map_err(|error| opened(to, error))?;
    if metadata.nlink() > 1 {
        return Err(format!("Detected hard link at: {}", to.display()));
    }
    fchown(&target, Some(arguments.uid), Some(arguments.gid))
        .map_err(|error| format!("Failed to change owner for {}: {error}", to.display()))?;
    io::copy(&mut source, &mut target)
        .map_err(|error| format!("Failed to copy {} to {}: {error}", from.display(), to.display()))?;
    Ok(())
}

/// Writes the process's id beside the program; the file must not be there yet.
pub(crate) fn write_pid(name: &str, pid: u32) -> Result<(), String> {
    let path = format!("{name}.pid");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|error| format!("Failed to open file /{path}: {error}"))?;
    write!(file, "{pid}").map_err(|error| format!("Failed to write to /{path}: {error}"))
}
