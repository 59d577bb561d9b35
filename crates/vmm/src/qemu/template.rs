//! The two files of a template, in a directory of the server's own.
//!
//! ```text
//! memory   the guest's memory, byte for byte; holes where it never wrote
//! state    everything else: devices, CPUs, clock, as QEMU writes a migration
//! ```
//!
//! While a template's machine runs, its user owns its memory. [`Files::seal`] leaves both to the server, read-only, which
//! is also the sign that the template is whole: no other is restored.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::spawn::remove;
use crate::VmmError;
use crate::child::User;

/// Mode of the files of a whole template.
const SEALED: u32 = 0o400;

/// Where they are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) memory: PathBuf,
    pub(crate) state: PathBuf,
}

impl Files {
    pub(crate) fn of(dir: &Path) -> Self {
        Self { memory: dir.join("memory"), state: dir.join("state") }
    }

    /// Makes the memory of a machine, of `size` bytes, that runs as `user`.
    pub(crate) fn create_memory(&self, size: u64, user: User) -> Result<File, VmmError> {
        let make = || {
            let file = create(OpenOptions::new().read(true), &self.memory)?;
            file.set_len(size)?;
            if rustix::process::geteuid().is_root() {
                fchown(&file, Some(user.uid), Some(user.gid))?;
            }
            Ok(file)
        };
        make().map_err(|source| VmmError::File {
            action: "make the template's file",
            path: self.memory.clone(),
            source,
        })
    }

    /// Makes the file for the rest of its state, to be written only.
    pub(crate) fn create_state(&self) -> Result<File, VmmError> {
        create(&mut OpenOptions::new(), &self.state).map_err(|source| VmmError::File {
            action: "make the template's file",
            path: self.state.clone(),
            source,
        })
    }

    /// Writes both to the disk and takes them away from the machine's user. Blocks for as long as the disk takes.
    pub(crate) fn seal(&self) -> Result<(), VmmError> {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        for path in [&self.memory, &self.state] {
            let seal = || {
                // Read-only suffices to write back what others wrote.
                let file = File::open(path)?;
                fchown(&file, Some(own.0), Some(own.1))?;
                file.set_permissions(Permissions::from_mode(SEALED))?;
                file.sync_all()
            };
            seal().map_err(|source| VmmError::File {
                action: "finish the template's file",
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// The machine's state, for a machine to be restored from.
    pub(crate) fn open_state(&self) -> Result<File, VmmError> {
        open_sealed(&self.state).map(|(file, _)| file)
    }

    /// Removes what there is of a template that did not come to be; a whole one stays.
    pub(crate) fn discard(&self) -> Result<(), VmmError> {
        if self.open_state().is_ok() {
            return Ok(());
        }
        remove(&self.memory)?;
        remove(&self.state)
    }
}

fn create(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file of a whole template; with its size.
pub(crate) fn open_sealed(path: &Path) -> Result<(File, u64), VmmError> {
    let open = || {
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let meta = file.metadata()?;
        let own = rustix::process::geteuid().as_raw();
        if !meta.is_file() || meta.uid() != own || meta.mode() & 0o7777 != SEALED {
            return Err(io::Error::other(
                "it is not part of a complete template, which would be the server's own file with mode \
                 0400; remove the template, and it is made again",
            ));
        }
        Ok((file, meta.len()))
    };
    open().map_err(|source| VmmError::File {
        action: "open the template's file",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sealed_template_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::of(dir.path());
        let missing = files.open_state().unwrap_err().to_string();
        assert!(missing.contains("/state: No such file"), "{missing}");
        let user = User { uid: 64_123, gid: 64_123 };
        let memory = files.create_memory(1 << 20, user).unwrap();
        files.create_state().unwrap();
        assert_eq!(memory.metadata().unwrap().len(), 1 << 20);
        let half = files.open_state().unwrap_err().to_string();
        assert!(half.contains("not part of a complete template"), "{half}");
        assert!(files.create_memory(1, user).is_err(), "nothing is written over");
        files.seal().unwrap();
        files.open_state().unwrap();
        assert_eq!(open_sealed(&files.memory).unwrap().1, 1 << 20);
        files.discard().unwrap();
        files.open_state().unwrap();
        std::fs::remove_file(&files.state).unwrap();
        files.discard().unwrap();
        files.discard().unwrap();
        assert!(!files.memory.exists());
        std::os::unix::fs::symlink("/etc/passwd", &files.state).unwrap();
        assert!(files.open_state().is_err(), "a link is not followed");
    }
}
