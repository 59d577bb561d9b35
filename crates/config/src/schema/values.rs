//! Values with a form of their own: each is checked while it is read, so that the error points at it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use super::patterns;

/// Longest path that is accepted, in bytes (the kernel's `PATH_MAX` without the final NUL).
const MAX_PATH: usize = 4095;

/// An absolute path without `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "PathBuf")]
#[schemars(with = "String", extend("pattern" = patterns::PATH, "maxLength" = MAX_PATH))]
pub struct AbsolutePath(PathBuf);

impl AbsolutePath {
    /// A path of this crate's own, known to be right.
    pub(crate) fn fixed(path: &'static str) -> Self {
        Self(PathBuf::from(path))
    }

    /// Takes the path out.
    pub fn into_path_buf(self) -> PathBuf {
        self.0
    }
}

impl TryFrom<String> for AbsolutePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("the path must be absolute: begin it with '/'".into());
        }
        if text.len() > MAX_PATH || text.contains('\0') {
            return Err("this cannot be a path: it is too long or has a NUL character".into());
        }
        if Path::new(&text).components().any(|part| part == std::path::Component::ParentDir) {
            return Err("the path must not contain '..'".into());
        }
        Ok(Self(PathBuf::from(text)))
    }
}

impl From<AbsolutePath> for PathBuf {
    fn from(path: AbsolutePath) -> Self {
        path.0
    }
}

impl Deref for AbsolutePath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for AbsolutePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// A program: an absolute path, or a plain name that is looked up in `PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::COMMAND))]
pub struct CommandName(String);

impl CommandName {
    /// A name of this crate's own, known to be right.
    pub(crate) fn fixed(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name or path as a path, for `Command::new`.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for CommandName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the program's name is empty".into());
        }
        if text.contains('/') {
            let path = AbsolutePath::try_from(text)?;
            return Ok(Self(path.0.to_string_lossy().into_owned()));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(
                "this must be one program without arguments: a name in PATH or an absolute path".into()
            );
        }
        Ok(Self(text))
    }
}

impl From<CommandName> for String {
    fn from(name: CommandName) -> Self {
        name.0
    }
}

/// A length of time, written with units: `500ms`, `30s`, `10m`, `1h 30m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String", extend("pattern" = patterns::DURATION))]
pub struct Duration(pub std::time::Duration);

/// A year: every longer wait is a mistake, and timers stay far from their limits.
const MAX_DURATION: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

impl Duration {
    /// So many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with a unit, such as 30s, 10m or 1h 30m")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        let parsed = humantime::parse_duration(text).map_err(|_| {
            E::custom("this is not a duration: write a number and a unit, such as 30s, 10m or 1h 30m")
        })?;
        if parsed > MAX_DURATION {
            return Err(E::custom("this is longer than a year"));
        }
        Ok(Duration(parsed))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Duration, E> {
        if number == 0 {
            return Ok(Duration(std::time::Duration::ZERO));
        }
        Err(E::custom(format_args!(
            "a duration needs a unit: write {number}s for seconds or {number}m for minutes"
        )))
    }
}

/// A TCP address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::LISTEN))]
pub struct ListenAddress(pub SocketAddr);

impl ListenAddress {
    /// Only processes of this host can reach it.
    pub fn is_loopback(&self) -> bool {
        fireactions_model::network_rules::is_loopback(self.0.ip())
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let full = match text.strip_prefix(':') {
            Some(port) => format!("{}:{port}", Ipv4Addr::UNSPECIFIED),
            None => match text.strip_prefix("localhost:") {
                Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
                None => text,
            },
        };
        full.parse().map(Self).map_err(|_| {
            "this is not an address to listen on: write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080"
                .to_owned()
        })
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.0.to_string()
    }
}

/// Permission bits, written in octal as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("pattern" = patterns::MODE))]
pub struct Mode(pub u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModeVisitor)
    }
}

struct ModeVisitor;

impl Visitor<'_> for ModeVisitor {
    type Value = Mode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permission bits as an octal text, such as \"0660\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Mode, E> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        match u32::from_str_radix(digits, 8) {
            Ok(bits) if bits <= 0o777 && (3..=4).contains(&digits.len()) && !digits.starts_with('+') => {
                Ok(Mode(bits))
            }
            _ => Err(E::custom(
                "these are not permission bits: write three or four octal digits, such as \"0660\"",
            )),
        }
    }

    // An unquoted 0660 reads as a number, and as which one depends on the YAML version.
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Mode, E> {
        Err(E::custom(
            "write permission bits in quotes, such as \"0660\": otherwise YAML reads them as a different number",
        ))
    }
}

/// Name of a group of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = patterns::GROUP))]
pub struct GroupName(String);

impl GroupName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GroupName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fine = !text.is_empty()
            && text.len() <= 32
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-$".contains(&b));
        if fine { Ok(Self(text)) } else { Err("this is not a group name".into()) }
    }
}

impl From<GroupName> for String {
    fn from(group: GroupName) -> Self {
        group.0
    }
}

/// The location of a secret, never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = patterns::SECRET))]
pub enum SecretFile {
    /// A file on the host.
    Path(AbsolutePath),
    /// A file of this name in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

impl TryFrom<String> for SecretFile {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("credential:") {
            let fine = !name.is_empty()
                && name.len() <= 255
                && !name.starts_with('.')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b));
            return if fine {
                Ok(Self::Credential(name.to_owned()))
            } else {
                Err("this is not a credential's name: use A-Z a-z 0-9 . _ - @, not beginning with a dot"
                    .into())
            };
        }
        // The text may be the secret itself, put under the wrong key: it must not be in the message.
        AbsolutePath::try_from(text).map(Self::Path).map_err(|_| {
            "name the file that holds the secret: an absolute path, or credential:NAME".to_owned()
        })
    }
}
