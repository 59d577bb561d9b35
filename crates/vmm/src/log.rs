//! What a VMM says on its standard error: a sealed memory file of fixed size, which it can fill but not outgrow, and
//! which can be read through `/proc` for as long as the process lives, also by the next server.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::{MemfdFlags, SealFlags};

/// A VMM's standard error.
#[derive(Debug)]
pub(crate) struct Log(File);

impl Log {
    /// Bytes it holds.
    pub(crate) const SIZE: usize = 64 << 10;

    /// An empty one; the name is seen in `/proc`.
    pub(crate) fn create(name: &str) -> io::Result<Self> {
        let file: File =
            rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into();
        file.set_len(Self::SIZE as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self(file))
    }

    /// For the process that is to write it.
    pub(crate) fn writer(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// The log of a process that an earlier server started. A VMM in a guest's hands may have put something
    /// else there, on which opening or reading could hang.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/fd/2");
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        if file.metadata()?.is_file() { Ok(Self(file)) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// What was written, without the zeros behind it.
    pub(crate) fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::SIZE];
        let count = self.0.read_at(&mut bytes, 0).unwrap_or(0);
        let end = bytes[..count].iter().position(|byte| *byte == 0).unwrap_or(count);
        bytes.truncate(end);
        bytes
    }
}
