//! Directories that lie on the scratch disk itself, not in the overlay above the image: container engines put overlays of
//! their own there, and the kernel refuses an overlay whose upper layer is on another one.

use std::collections::HashSet;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::mount::mount_bind;

use crate::console::say;
use crate::{copy, inside, root};

/// Where Docker, containerd and podman keep layers unless they are told otherwise.
const USUAL: [&str; 3] = ["/var/lib/docker", "/var/lib/containerd", "/var/lib/containers"];

/// Puts the usual directories and `more` on the scratch disk, with what the image has in them. One of the usual that
/// cannot be used is said and left alone; one of `more` is an error.
pub(crate) fn place(more: &[PathBuf]) -> Result<(), String> {
    let wanted: HashSet<PathBuf> = USUAL.iter().map(PathBuf::from).chain(more.iter().cloned()).collect();
    let mut wanted: Vec<PathBuf> = wanted.into_iter().collect();
    // A directory before what is below it.
    wanted.sort();
    for (index, path) in wanted.iter().enumerate() {
        let on_disk = Path::new(root::SCRATCH).join("data").join(index.to_string());
        if let Err(error) = place_one(path, &on_disk) {
            let why = format!("{} cannot lie on the scratch disk: {error}", path.display());
            if more.contains(path) {
                return Err(why);
            }
            say(format_args!("{why}"));
        }
    }
    Ok(())
}

fn place_one(path: &Path, on_disk: &Path) -> std::io::Result<()> {
    let directory = inside::directory(Path::new(root::ROOT), path)?;
    DirBuilder::new().recursive(true).mode(0o755).create(on_disk)?;
    // Below the overlay, which hides what marks deletions in the layers of a container engine.
    if let Some(image) = inside::find(Path::new(root::LOWER), path)? {
        let image = inside::path_of(&image);
        let meta = std::fs::metadata(&image)?;
        copy::content(&image, on_disk)?;
        chown(on_disk, Some(meta.uid()), Some(meta.gid()))?;
        std::fs::set_permissions(on_disk, Permissions::from_mode(meta.mode() & 0o7777))?;
    }
    Ok(mount_bind(on_disk, inside::path_of(&directory))?)
}
