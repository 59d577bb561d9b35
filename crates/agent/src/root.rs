//! The machine's root: the read-only image below, the scratch disk above, joined by overlayfs.

use std::ffi::CString;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount, mount_move};

use crate::cmdline::Cmdline;

/// Disks are there within milliseconds of their driver; a busy host under emulation may take seconds.
const DEVICE_DEADLINE: Duration = Duration::from_secs(20);

/// Where the image is.
pub(crate) const LOWER: &str = "/.fireactions/lower";
/// Where the scratch disk is until the root is switched.
pub(crate) const SCRATCH: &str = "/.fireactions/scratch";
/// Where the machine's root is until it is `/`.
pub(crate) const ROOT: &str = "/.fireactions/root";

/// Mounts the image at a place of its own and waits for the scratch disk without opening it. All of this is the same
/// for every machine of an image, so a machine can be frozen after it and woken up with another scratch disk.
pub(crate) fn mount_lower(cmdline: &Cmdline) -> Result<(), String> {
    for dir in [LOWER, SCRATCH, ROOT] {
        std::fs::create_dir_all(dir)
            .map_err(|error| format!("cannot make {dir} in the initramfs: {error}"))?;
    }
    wait_for(&cmdline.root)?;
    mount_image(&cmdline.root)?;
    cmdline.scratch.as_deref().map_or(Ok(()), wait_for)
}

/// Mounts the scratch disk and joins image and scratch. Returns the scratch file system's directory, which has no path
/// any more once the root is switched.
pub(crate) fn assemble(scratch: Option<&Path>) -> Result<OwnedFd, String> {
    match scratch {
        Some(device) => {
            mount(device, SCRATCH, "ext4", MountFlags::NOATIME, None).map_err(|error| {
                format!("cannot mount the scratch disk {} as ext4: {error}", device.display())
            })?;
        }
        None => mount("tmpfs", SCRATCH, "tmpfs", MountFlags::NOATIME, Some(c"mode=0755"))
            .map_err(|error| format!("cannot mount a tmpfs for the writable layer: {error}"))?,
    }
    join()?;
    File::open(SCRATCH).map(OwnedFd::from).map_err(|error| format!("cannot open the scratch disk: {error}"))
}

pub(crate) fn wait_for(device: &Path) -> Result<(), String> {
    let end = Instant::now() + DEVICE_DEADLINE;
    let mut pause = Duration::from_millis(1);
    loop {
        if std::fs::metadata(device).is_ok_and(|found| found.file_type().is_block_device()) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!(
                "disk {} did not appear within {} s; disks here: {}; check the VM's drives and that the initramfs \
                 holds the virtio_blk module",
                device.display(),
                DEVICE_DEADLINE.as_secs(),
                disks()
            ));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn disks() -> String {
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/block")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

fn mount_image(device: &Path) -> Result<(), String> {
    let mut reasons = Vec::new();
    for kind in ["squashfs", "erofs", "ext4"] {
        match mount(device, LOWER, kind, MountFlags::RDONLY | MountFlags::NODEV, None) {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(format!("{kind}: {error}")),
        }
    }
    Err(format!("cannot mount the root image {} ({})", device.display(), reasons.join("; ")))
}

fn join() -> Result<(), String> {
    for name in ["upper", "work"] {
        let dir = Path::new(SCRATCH).join(name);
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(format!("cannot make {} on the scratch disk: {error}", dir.display()));
            }
            _ => {}
        }
    }
    // The root directory's mode and owner are taken from the upper layer.
    let upper = Path::new(SCRATCH).join("upper");
    let copied = std::fs::metadata(LOWER).and_then(|image| {
        chown(&upper, Some(image.uid()), Some(image.gid()))?;
        std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(image.mode() & 0o7777))
    });
    copied.map_err(|error| format!("cannot set up the scratch disk: {error}"))?;

    let layers = format!("lowerdir={LOWER},upperdir={SCRATCH}/upper,workdir={SCRATCH}/work");
    // `volatile`: the scratch disk dies with the machine, so a job's fsync need not wait for it. `redirect_dir`:
    // directories of the image can be renamed. Neither is worth a failed boot on an older kernel.
    let mut last = String::new();
    for more in [",redirect_dir=on,volatile", ",volatile", ""] {
        let data = CString::new(format!("{layers}{more}")).map_err(|error| error.to_string())?;
        match mount("overlay", ROOT, "overlay", MountFlags::NOATIME, Some(data.as_c_str())) {
            Ok(()) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(format!("cannot join image and scratch disk with overlayfs: {last}; is the overlay module there?"))
}

/// Makes the assembled root `/`, with `/proc`, `/sys` and `/dev` moved along.
pub(crate) fn switch() -> Result<(), String> {
    for name in ["proc", "sys", "dev"] {
        let target = Path::new(ROOT).join(name);
        mount_point(&target)
            .and_then(|()| Ok(mount_move(format!("/{name}"), &target)?))
            .map_err(|error| format!("cannot move /{name} into the root: {error}"))?;
    }
    mount_point(&Path::new(ROOT).join("run")).map_err(|error| format!("cannot make /run: {error}"))?;
    let switched = std::env::set_current_dir(ROOT)
        .and_then(|()| Ok(mount_move(".", "/")?))
        .and_then(|()| Ok(rustix::process::chroot(".")?))
        .and_then(|()| std::env::set_current_dir("/"));
    switched.map_err(|error| format!("cannot switch to the new root: {error}"))
}

/// A directory at `path`, whatever a strange image has there.
fn mount_point(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    std::fs::create_dir(path)
}

/// A directory or symbolic link to be made again on top of a fresh file system.
pub(crate) struct Entry {
    path: PathBuf,
    meta: Metadata,
    link: Option<PathBuf>,
}

/// Directories and links below `top` (not their files), at most 1000 and 8 deep: images keep a few there.
pub(crate) fn skeleton(top: &Path) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut todo = vec![(top.to_owned(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        for path in std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if found.len() >= 1000 {
                return found;
            }
            let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
            if meta.is_dir() {
                if depth < 8 {
                    todo.push((path.clone(), depth + 1));
                }
                found.push(Entry { path, meta, link: None });
            } else if meta.is_symlink()
                && let Ok(link) = std::fs::read_link(&path)
            {
                found.push(Entry { path, meta, link: Some(link) });
            }
        }
    }
    found
}

impl Entry {
    /// Makes it; an entry that cannot be made is left out.
    pub(crate) fn make(&self) {
        let made = match &self.link {
            Some(target) => symlink(target, &self.path),
            None => DirBuilder::new()
                .mode(0o700)
                .create(&self.path)
                .and_then(|()| chown(&self.path, Some(self.meta.uid()), Some(self.meta.gid())))
                .and_then(|()| std::fs::set_permissions(&self.path, self.meta.permissions())),
        };
        drop(made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skeleton_keeps_directories_modes_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("run");
        std::fs::create_dir_all(top.join("mysqld/sub")).unwrap();
        std::fs::set_permissions(top.join("mysqld"), std::fs::Permissions::from_mode(0o1775)).unwrap();
        std::fs::write(top.join("mysqld/pid"), "1").unwrap();
        symlink("mysqld", top.join("link")).unwrap();
        let entries = skeleton(&top);
        std::fs::remove_dir_all(&top).unwrap();
        std::fs::create_dir(&top).unwrap();

        for entry in &entries {
            entry.make();
        }

        assert_eq!(std::fs::metadata(top.join("mysqld")).unwrap().mode() & 0o7777, 0o1775);
        assert!(top.join("mysqld/sub").is_dir());
        assert!(!top.join("mysqld/pid").exists());
        assert_eq!(std::fs::read_link(top.join("link")).unwrap(), Path::new("mysqld"));
    }

    #[test]
    fn a_mount_point_replaces_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proc");
        symlink("/etc", &path).unwrap();
        mount_point(&path).unwrap();
        assert!(std::fs::symlink_metadata(&path).unwrap().is_dir());
    }
}
