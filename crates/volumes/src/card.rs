//! What a volume is, as `volume.json` has it.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Of this way to keep volumes. What is of another version is removed.
pub(crate) const FORMAT: u32 = 1;

/// Which volume: nobody but its owner's machines gets it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Name {
    /// Whose it is: a repository of a forge, or a pool.
    pub owner: String,
    /// Which of the owner's.
    pub key: String,
}

impl Name {
    /// The directory of this volume.
    pub(crate) fn directory(&self) -> String {
        let mut hash = Sha256::new();
        // With its length, so that no other owner and key have the same bytes.
        hash.update((self.owner.len() as u64).to_le_bytes());
        hash.update(self.owner.as_bytes());
        hash.update(self.key.as_bytes());
        hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Who has written a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// For people: what the forge says of the job.
    pub job: String,
    /// The number of the owner at its forge, which no later one of its name has; 0 where there are no such numbers.
    pub owner: u64,
}

/// `volume.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) format: u32,
    pub(crate) name: Name,
    /// The content's number.
    pub(crate) content: String,
    /// Its size as a disk.
    pub(crate) mib: u32,
    pub(crate) writer: Writer,
    pub(crate) kept_at: Timestamp,
}

impl Card {
    /// The file of the content of this number.
    pub(crate) fn file(content: &str) -> String {
        format!("{content}.ext4")
    }

    /// Whether this may be the card of a volume in the directory of this name.
    pub(crate) fn fits(&self, directory: &str) -> bool {
        self.format == FORMAT
            && self.name.directory() == directory
            && self.content.len() == 16
            && self.content.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_share_a_directory() {
        let at = |owner: &str, key: &str| Name { owner: owner.into(), key: key.into() }.directory();
        assert_eq!(at("gitea/acme/app", "cargo").len(), 32);
        assert_ne!(at("gitea/acme/app", "cargo"), at("gitea/acme/appc", "argo"));
        assert_ne!(at("a", "b"), at("ab", ""));
        assert_ne!(at("a", "../b"), at("a", "b"));
    }
}
