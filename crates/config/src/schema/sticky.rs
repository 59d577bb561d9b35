//! Directories of guests whose content outlives a job.

use fireactions_model as model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, GuestDir, patterns};

/// A directory of the guest that a job finds as the last job left it that succeeded. It is a disk of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StickyDirConfig {
    /// Where it is in the guest. At first it has what the image has there.
    #[schemars(example = &"/home/runner/.cargo")]
    pub path: GuestDir,
    /// Its name. Pools of the same repository that use the same key share what is in it; a new key begins anew.
    #[schemars(example = &"cargo")]
    pub key: StickyKey,
    /// How much it holds, in MiB. Only what is written takes room on the host. Another size begins anew.
    #[schemars(range(min = 16, max = 16_777_216), example = 5120)]
    pub size_mib: u32,
}

/// The name of a sticky directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::STICKY_KEY))]
pub struct StickyKey(String);

impl StickyKey {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StickyKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=64).contains(&text.len()) || !text.bytes().all(plain) {
            return Err("use 1 to 64 of A-Z a-z 0-9 . _ -, such as cargo".to_owned());
        }
        Ok(Self(text))
    }
}

impl From<StickyKey> for String {
    fn from(key: StickyKey) -> Self {
        key.0
    }
}

impl StickyDirConfig {
    pub(super) fn spec(&self) -> model::StickyDir {
        model::StickyDir {
            path: self.path.as_str().to_owned(),
            key: self.key.as_str().to_owned(),
            size_mib: self.size_mib,
        }
    }
}

/// What the host keeps for sticky directories of pools (`runner.sticky`), below `state_dir`. docs/caches.md explains it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StickyConfig {
    /// Size limit of all of them together, in MiB on the host's disk. Above it, those used least lately are removed.
    #[schemars(range(min = 64))]
    pub max_size_mib: u64,
    /// What stays free on the file system, in MiB: those used least lately are removed for it, and at last nothing is kept.
    pub keep_free_mib: u64,
    /// One that no machine was given for this long is removed.
    pub unused_for: Duration,
}

impl Default for StickyConfig {
    fn default() -> Self {
        Self { max_size_mib: 50 * 1024, keep_free_mib: 5 * 1024, unused_for: Duration::secs(7 * 24 * 3600) }
    }
}
