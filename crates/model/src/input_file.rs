//! What a job brings: files, directories and symbolic links.

use serde::{Deserialize, Serialize};

/// An input file of a job. Its bytes are in the store, under the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InputFile {
    /// Absolute guest path.
    pub dest: String,
    /// Type and permission bits, as `st_mode` of stat(2) has them. Without type bits it is a file. A directory (0o040000) has
    /// no bytes; one that is there stays as it is. A symbolic link (0o120000) has its target as its bytes.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
}

/// What an input file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

impl FileKind {
    const TYPE: u32 = 0o170_000;

    /// What a mode says; nothing when it has other bits than permissions and one of these types.
    pub const fn of(mode: u32) -> Option<Self> {
        if mode & !(Self::TYPE | 0o7777) != 0 {
            return None;
        }
        match mode & Self::TYPE {
            0 | 0o100_000 => Some(Self::File),
            0o040_000 => Some(Self::Directory),
            0o120_000 => Some(Self::Link),
            _ => None,
        }
    }

    /// The bits that say this in a mode.
    pub const fn bits(self) -> u32 {
        match self {
            Self::File => 0o100_000,
            Self::Directory => 0o040_000,
            Self::Link => 0o120_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_what_stat_says_it_is() {
        for kind in [FileKind::File, FileKind::Directory, FileKind::Link] {
            assert_eq!(FileKind::of(kind.bits() | 0o4755), Some(kind));
        }
        assert_eq!(FileKind::of(0o644), Some(FileKind::File));
        // A FIFO, a device, a socket, and what is no mode at all.
        for bad in [0o010_644, 0o020_644, 0o060_644, 0o140_644, 0o1_000_644, u32::MAX] {
            assert_eq!(FileKind::of(bad), None, "{bad:o}");
        }
    }
}
