//! Files of this host that a reference names. Whoever may submit a job may name any, so what is opened is looked at first:
//! a FIFO would wait for its writer for ever, and a device may do anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use fireactions_model::ImageRef;
use rustix::fs::{Mode, OFlags};

use crate::{ImageError, LocalSources};

/// A path that may be read from.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    path: PathBuf,
    /// No link leads out of this directory.
    within: Option<PathBuf>,
}

impl LocalSources {
    /// The path of a reference, if it may be read from.
    pub(crate) fn permit(&self, image: &ImageRef, path: &Path) -> Result<Local, ImageError> {
        let local = |within: Option<&PathBuf>| Local { path: path.to_path_buf(), within: within.cloned() };
        let dirs = match self {
            Self::Any => return Ok(local(None)),
            Self::Only { images, .. } if images.contains(image) => return Ok(local(None)),
            Self::Only { dirs, .. } => dirs,
        };
        let climbs = path.components().any(|part| part == Component::ParentDir);
        match dirs.iter().find(|dir| !climbs && path.starts_with(dir)) {
            Some(dir) => Ok(local(Some(dir))),
            None => Err(ImageError::NotPermitted(image.clone())),
        }
    }
}

impl Local {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the regular file at this path, or at `name` below it. Does not wait, and opens nothing else.
    pub(crate) fn open(&self, name: &str) -> io::Result<(File, Metadata)> {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        let found = self.find(&path)?;
        // The descriptor names the file and has not opened it.
        let metadata = File::from(found.try_clone()?).metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
        Ok((file, metadata))
    }

    fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let Some(within) = &self.within else {
            return Ok(rustix::fs::open(path, flags, Mode::empty())?);
        };
        let dir = rustix::fs::open(within, flags | OFlags::DIRECTORY, Mode::empty())?;
        let below = path.strip_prefix(within).map_err(io::Error::other)?;
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        let found = rustix::fs::openat(&dir, below, flags, Mode::empty())?;
        // Where links have led is looked at once it is open: `openat2` would not follow them out, but a service with
        // `RestrictSUIDSGID=` has none.
        let place = |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if !place(&found)?.starts_with(place(&dir)?) {
            let why = format!("a link leads out of {}", within.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        Ok(found)
    }
}
