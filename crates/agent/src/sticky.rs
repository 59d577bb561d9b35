//! Disks that outlive the machine: what the last job left is there before anything runs, and what this one leaves is whole before
//! the host takes it.
//!
//! What is on such a disk another job has written, who may have been root in its machine. So only a plain directory of it is used, and a
//! disk that cannot be mounted is said and done without.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fireactions_guest_proto::{StickyDisk, Unusable};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::console::say;
use crate::{cgroup, power, root};

/// Where the disks are until the root is switched.
const DISKS: &str = "/.fireactions/sticky";
/// The directory of a disk that is used: beside it lies what the file system itself has.
const CONTENT: &str = "content";
/// What was killed lets go of its files within moments.
const BUSY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// The disks of this machine.
#[derive(Debug, Default)]
pub(crate) struct Sticky {
    /// The directories of their file systems, which have no path any more once the root is switched.
    mounted: Vec<OwnedFd>,
    unusable: Vec<Unusable>,
    /// What the job is told of those.
    said: Vec<String>,
}

/// A directory of the machine that lies on such a disk.
pub(crate) struct Place {
    /// Where it is in the machine.
    pub(crate) path: PathBuf,
    /// Where it is on the disk; nothing where the disk cannot be used.
    pub(crate) content: Option<PathBuf>,
}

impl Sticky {
    /// Mounts the disks at places of their own.
    pub(crate) fn mount(disks: &[StickyDisk]) -> (Self, Vec<Place>) {
        let (mut sticky, mut places) = (Self::default(), Vec::new());
        for (number, StickyDisk { device, path }) in (0_u32..).zip(disks) {
            let at = Path::new(DISKS).join(number.to_string());
            let content = match mount_one(Path::new(device), &at) {
                Ok(directory) => {
                    sticky.mounted.push(directory);
                    Some(at.join(CONTENT))
                }
                Err(why) => {
                    let text =
                        format!("what the last job left in {path} cannot be used, and it begins anew: {why}");
                    say(&text);
                    sticky.said.push(text);
                    sticky.unusable.push(Unusable { disk: number, why });
                    None
                }
            };
            places.push(Place { path: PathBuf::from(path), content });
        }
        (sticky, places)
    }

    /// Disks that cannot be mounted, for the host.
    pub(crate) fn unusable(&self) -> Vec<Unusable> {
        self.unusable.clone()
    }

    /// The same for the job's log, a line for each.
    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }

    /// Ends what of the job still runs, and writes the disks back: nobody writes to them any more, and their file systems are whole.
    pub(crate) fn release(&self) -> Result<(), String> {
        if !self.unusable.is_empty() {
            return Err("one of the disks could not be mounted".to_owned());
        }
        cgroup::kill_strays();
        let until = Instant::now() + BUSY;
        for disk in &self.mounted {
            rustix::fs::syncfs(disk).map_err(|error| format!("it cannot be written back: {error}"))?;
            while let Err(error) = power::read_only(disk) {
                if Instant::now() >= until {
                    return Err(format!("something still writes to it: {error}"));
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }
}

fn mount_one(device: &Path, at: &Path) -> Result<OwnedFd, String> {
    root::wait_for(device)?;
    std::fs::create_dir_all(at).map_err(|error| format!("cannot make {}: {error}", at.display()))?;
    mount(device, at, "ext4", MountFlags::NOATIME, None)
        .map_err(|error| format!("its disk cannot be mounted: {error}"))?;
    let opened = is_ours(&at.join(CONTENT))
        .and_then(|()| File::open(at).map_err(|error| format!("its disk cannot be opened: {error}")));
    opened.map(OwnedFd::from).inspect_err(|_| {
        let _ = unmount(at, UnmountFlags::DETACH);
    })
}

/// Whether the content is a directory, or still to be made.
fn is_ours(content: &Path) -> Result<(), String> {
    match std::fs::symlink_metadata(content) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err("its disk has something else than a directory where the content belongs".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("its disk cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_that_leads_somewhere_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let content = dir.path().join(CONTENT);
        is_ours(&content).unwrap();
        std::os::unix::fs::symlink("/etc", &content).unwrap();
        assert!(is_ours(&content).unwrap_err().contains("something else than a directory"));
        std::fs::remove_file(&content).unwrap();
        std::fs::write(&content, "").unwrap();
        is_ours(&content).unwrap_err();
        std::fs::remove_file(&content).unwrap();
        std::fs::create_dir(&content).unwrap();
        is_ours(&content).unwrap();
    }
}
