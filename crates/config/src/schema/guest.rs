//! Values that end on the guest's kernel command line, and so are short and without spaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns;

/// Longest directory, in bytes.
const MAX_DIR: usize = 128;
/// Longest name of a module (the kernel's `MODULE_NAME_LEN`, less the final NUL).
const MAX_MODULE: usize = 55;

/// A directory of the guest that can lie on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::GUEST_DIR, "maxLength" = MAX_DIR))]
pub struct GuestDir(String);

impl GuestDir {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GuestDir {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = || text.split('/').skip(1);
        if !text.starts_with('/') || parts().any(|part| matches!(part, "" | "." | "..")) {
            return Err(
                "write an absolute path below '/', without '//', '.', '..' or a '/' at the end".into()
            );
        }
        if text.len() > MAX_DIR || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("use at most {MAX_DIR} ASCII characters without spaces"));
        }
        if let Some(first @ ("dev" | "proc" | "run" | "sys")) = parts().next() {
            return Err(format!("/{first} is the kernel's or in memory: name another directory"));
        }
        Ok(Self(text))
    }
}

impl From<GuestDir> for String {
    fn from(dir: GuestDir) -> Self {
        dir.0
    }
}

/// A kernel module, as `modprobe` knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::MODULE))]
pub struct ModuleName(String);

impl ModuleName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ModuleName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > MAX_MODULE || !text.bytes().all(plain) {
            return Err(format!(
                "this is not a kernel module's name: 1 to {MAX_MODULE} letters, digits, '_' and '-', without '.ko'"
            ));
        }
        Ok(Self(text))
    }
}

impl From<ModuleName> for String {
    fn from(name: ModuleName) -> Self {
        name.0
    }
}
