//! Snapshots: the state file is one line of JSON, the header, and what QEMU writes behind it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::resources::Config;

/// A header is a few kilobytes; a file that goes on for longer is none of ours.
const HEADER_MAX: u64 = 1 << 20;

/// What there is to know before QEMU's state can be read.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Header {
    /// Marks the file, and tells versions apart.
    standin: u32,
    played: bool,
    pub(crate) port_open: bool,
    pub(crate) config: Config,
}

impl Header {
    pub(crate) fn new(kind: Kind, port_open: bool, config: Config) -> Self {
        Self { standin: 1, played: kind == Kind::Played, port_open, config }
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.played { Kind::Played } else { Kind::Emulated }
    }

    /// Makes the state file; QEMU's state goes behind what was written.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        let mut file = File::create(path)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        Ok(file)
    }

    /// Opens a state file and reads its header; the file stands at QEMU's state.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, File)> {
        let mut file = File::open(path)?;
        let mut start = Vec::new();
        file.try_clone()?.take(HEADER_MAX).read_to_end(&mut start)?;
        let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
        // What follows is QEMU's.
        file.seek(SeekFrom::Start(line.len() as u64 + 1))?;
        let header: Self = serde_json::from_slice(line)?;
        if header.standin != 1 {
            return Err(io::Error::other("a snapshot of another version"));
        }
        Ok((header, file))
    }
}
