//! What two servers say to each other. Fields may be added: what a peer does not know it ignores.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::server::notify::Manager;
use crate::server::sockets::Name;

/// A message: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Message {
    /// New: would you hand over?
    Ask {
        protocol: u32,
        version: String,
        /// Absent in other protocols.
        #[serde(default)]
        state: Option<StateId>,
    },
    /// Old: no.
    Refused { version: String, why: String },
    /// Old: yes, this is what I have.
    Offer { version: String, sockets: Vec<Name> },
    /// New: then do it.
    Take,
    /// Old: done; here they are, a descriptor for each.
    Given { sockets: Vec<Name>, manager: Option<Manager> },
    /// New: I serve.
    Ready,
}

/// A directory, whatever its path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateId {
    device: u64,
    inode: u64,
}

impl StateId {
    pub(super) fn of(directory: &Path) -> std::io::Result<Self> {
        let meta = std::fs::metadata(directory)?;
        Ok(Self { device: meta.dev(), inode: meta.ino() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_protocols_question_can_be_read_and_refused() {
        let later = r#"{"say":"ask","protocol":7,"version":"9.0.0","cluster":{"a":1}}"#;
        let message: Message = serde_json::from_str(later).unwrap();
        assert!(matches!(message, Message::Ask { protocol: 7, state: None, .. }));
    }
}
