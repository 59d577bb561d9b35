//! Directories that lie on the scratch disk itself, not in the overlay above the image: container engines put overlays of
//! their own there, and the kernel refuses an overlay whose upper layer is on another one; runners write much there. And those that lie
//! on disks of their own.

use std::collections::{BTreeMap, HashSet};
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::mount::mount_bind;

use crate::console::say;
use crate::sticky::Place;
use crate::{copy, inside, root, rootless};

/// Where Docker, containerd and podman keep layers unless they are told otherwise.
const USUAL: [&str; 3] = ["/var/lib/docker", "/var/lib/containerd", "/var/lib/containers"];

/// Where images have forges' runners, or the users who run them.
const HOMES: [&str; 7] = [
    "/root",
    "/home/runner",
    "/root/actions-runner",
    "/home/runner/actions-runner",
    "/actions-runner",
    "/opt/actions-runner",
    "/opt/runner",
];

/// Puts the usual directories, `more`, the runners' `work` and where rootless engines keep layers on the scratch disk, with
/// what the image has in them, and those of `sticky` on their disks. One of `more` or `sticky` that cannot be used is an error; another
/// is said and left alone.
pub(crate) fn place(more: &[PathBuf], work: Option<&Path>, sticky: Vec<Place>) -> Result<(), String> {
    let mut wanted: HashSet<PathBuf> = USUAL.iter().map(PathBuf::from).chain(more.iter().cloned()).collect();
    wanted.extend(rootless::places(Path::new(root::LOWER)));
    if let Some(work) = work {
        if work.is_absolute() {
            wanted.insert(work.to_owned());
        } else {
            let homes = HOMES.map(Path::new).into_iter().filter(|home| is_in_image(home));
            wanted.extend(homes.map(|home| home.join(work)));
        }
    }
    // A directory before what is below it.
    let mut all: BTreeMap<PathBuf, Option<PathBuf>> = wanted.into_iter().map(|path| (path, None)).collect();
    let is_sticky: HashSet<PathBuf> = sticky.iter().map(|place| place.path.clone()).collect();
    all.extend(sticky.into_iter().map(|place| (place.path, place.content)));
    for (index, (path, content)) in all.iter().enumerate() {
        let scratch = || Path::new(root::SCRATCH).join("data").join(index.to_string());
        let is_own = content.is_some();
        let on_disk = content.clone().unwrap_or_else(scratch);
        // What the last job left is all that is there.
        let is_filled = is_own && on_disk.exists();
        if let Err(error) = place_one(path, &on_disk, is_filled) {
            if !is_own {
                // Half a copy would leave the disk full, for everybody. Nothing is mounted there yet.
                let _ = std::fs::remove_dir_all(&on_disk);
            }
            let disk = if is_own { "a disk of its own" } else { "the scratch disk" };
            let why = format!("{} cannot lie on {disk}: {error}", path.display());
            if more.contains(path) || is_sticky.contains(path) {
                return Err(why);
            }
            say(format_args!("{why}"));
        }
    }
    Ok(())
}

fn is_in_image(path: &Path) -> bool {
    inside::find(Path::new(root::LOWER), path).is_ok_and(|found| found.is_some())
}

fn place_one(path: &Path, on_disk: &Path, is_filled: bool) -> std::io::Result<()> {
    let directory = inside::directory(Path::new(root::ROOT), path)?;
    if is_filled {
        return Ok(mount_bind(on_disk, inside::path_of(&directory))?);
    }
    DirBuilder::new().recursive(true).mode(0o755).create(on_disk)?;
    // Below the overlay, which hides what marks deletions in the layers of a container engine.
    if let Some(image) = inside::find(Path::new(root::LOWER), path)? {
        let image = inside::path_of(&image);
        let meta = std::fs::metadata(&image)?;
        copy::content(&image, on_disk)?;
        chown(on_disk, Some(meta.uid()), Some(meta.gid()))?;
        std::fs::set_permissions(on_disk, Permissions::from_mode(meta.mode() & 0o7777))?;
    } else {
        let made = std::fs::metadata(inside::path_of(&directory))?;
        chown(on_disk, Some(made.uid()), Some(made.gid()))?;
    }
    Ok(mount_bind(on_disk, inside::path_of(&directory))?)
}
