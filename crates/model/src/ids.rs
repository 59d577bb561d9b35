//! Identifiers. Each is a checked newtype: a value that exists is a valid one, whatever wire it came from.
//!
//! Their text is shared by all copies: a look at a thousand machines copies three of each.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not the identifier it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{value}' is not a valid {what}: {rule}")]
pub struct IdError {
    /// Kind of identifier, as people say it ("pool name").
    pub what: &'static str,
    /// The offending text, cut to 64 characters.
    pub value: String,
    /// The rule that it broke.
    pub rule: &'static str,
}

pub(crate) fn reject(what: &'static str, value: &str, rule: &'static str) -> IdError {
    IdError { what, value: value.chars().take(64).collect(), rule }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $pattern:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "schema", schema(value_type = String, pattern = $pattern))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The same rule as a regular expression, for schemas.
            pub const PATTERN: &str = $pattern;

            /// Checks and wraps `text`.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text.into())) } else { Err(reject($what, &text, $rule)) }
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Eight random bytes as ten readable characters (no i, l, o, u), after a one-letter prefix.
fn short_id(prefix: char, random: [u8; 8]) -> String {
    let mut bits = u64::from_le_bytes(random);
    let mut text = String::from(prefix);
    for _ in 0..10 {
        text.push(char::from(ALPHABET[(bits & 31) as usize]));
        bits >>= 5;
    }
    text
}

fn is_short_id(text: &str, prefix: u8) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 11 && bytes[0] == prefix && bytes[1..].iter().all(|b| ALPHABET.contains(b))
}

text_id!(
    /// One microVM, never used twice. Eleven characters, so that tap names (15 bytes) and socket paths
    /// (107 bytes) can carry it whole.
    MachineId,
    "machine id",
    "it is 'm' and ten characters of 0-9 and a-z without i, l, o, u",
    "^m[0-9a-hjkmnp-tv-z]{10}$",
    |text| is_short_id(text, b'm')
);

text_id!(
    /// One job of a forge.
    JobId,
    "job id",
    "it is 'j' and ten characters of 0-9 and a-z without i, l, o, u",
    "^j[0-9a-hjkmnp-tv-z]{10}$",
    |text| is_short_id(text, b'j')
);

text_id!(
    /// A pool's name, as in the configuration.
    PoolName,
    "pool name",
    "use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit",
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
    |text| {
        !text.is_empty()
            && text.len() <= 63
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }
);

text_id!(
    /// A forge's name, as in the configuration: it tells instances apart, also those of one kind.
    ForgeName,
    "forge name",
    "use 1 to 32 of a-z 0-9 -, starting with a letter",
    "^[a-z][a-z0-9-]{0,31}$",
    |text| {
        !text.is_empty()
            && text.len() <= 32
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

text_id!(
    /// A cluster's name, as in the configuration: hosts that share jobs have it in common. It is part of names of buckets and subjects
    /// in NATS.
    ClusterName,
    "cluster name",
    "use 1 to 32 of a-z 0-9 -, starting with a letter",
    "^[a-z][a-z0-9-]{0,31}$",
    |text| {
        text.len() <= 32
            && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

text_id!(
    /// A host's name in its cluster: one token of a subject in NATS, so no dots.
    ClusterHost,
    "host name",
    "use 1 to 63 of A-Z a-z 0-9 _ -, starting with a letter or digit; no dots",
    "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$",
    |text| {
        text.len() <= 63
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    }
);

text_id!(
    /// Where an image comes from: `debian:12`, `registry:5000/team/image@sha256:…`, `oci:/dir[:tag]`,
    /// `oci-archive:/file.tar[:tag]`. Only its shape is checked here.
    ImageRef,
    "image reference",
    "use 1 to 512 printable characters, without spaces except in the path after oci: or oci-archive:",
    "^([!-~]{1,512}|(oci|oci-archive):[ -~]{1,500})$",
    |text| {
        let path = text.strip_prefix("oci:").or_else(|| text.strip_prefix("oci-archive:"));
        let visible = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        visible(text, 512)
            || path.is_some_and(|path| {
                (1..=500).contains(&path.len()) && path.bytes().all(|b| matches!(b, b' '..=b'~'))
            })
    }
);

text_id!(
    /// A content address, `sha256:` and 64 lower-case hexadecimal digits.
    Digest,
    "digest",
    "it is 'sha256:' and 64 characters of 0-9 and a-f",
    "^sha256:[0-9a-f]{64}$",
    |text| {
        text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    }
);

impl MachineId {
    /// Makes an id from eight random bytes.
    pub fn from_random(random: [u8; 8]) -> Self {
        Self(short_id('m', random).into())
    }
}

impl ForgeName {
    /// The built-in queue.
    pub fn local() -> Self {
        Self("local".into())
    }

    /// The forge that the configuration's `github:` section declares.
    pub fn github() -> Self {
        Self("github".into())
    }

    /// The forge that the configuration's `gitea:` section declares.
    pub fn gitea() -> Self {
        Self("gitea".into())
    }

    /// The forge that the configuration's `forgejo:` section declares.
    pub fn forgejo() -> Self {
        Self("forgejo".into())
    }
}

impl JobId {
    /// Makes an id from eight random bytes.
    pub fn from_random(random: [u8; 8]) -> Self {
        Self(short_id('j', random).into())
    }
}

impl Digest {
    /// The content address of a SHA-256.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        let mut text = String::from("sha256:");
        for byte in hash {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        Self(text.into())
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

/// A runner label. Forges compare labels without case, so it is kept in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// Checks and lower-cases `text`.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let fine = !text.is_empty()
            && text.len() <= 256
            && text.trim() == text
            && !text.contains(',')
            && !text.chars().any(char::is_control);
        if fine {
            Ok(Self(text.to_lowercase()))
        } else {
            Err(reject("label", text, "use 1 to 256 characters without commas, controls or outer spaces"))
        }
    }

    /// The label in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Label {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Label {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.0
    }
}

/// A set of labels. A pool serves a job when the pool's labels hold all of the job's.
pub type Labels = BTreeSet<Label>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn made_ids_are_valid(random in any::<[u8; 8]>()) {
            let id = MachineId::from_random(random);
            prop_assert_eq!(MachineId::new(id.as_str()).unwrap(), id.clone());
            prop_assert!(JobId::new(id.as_str()).is_err());
        }

        #[test]
        fn patterns_say_what_the_code_does(text in "[a-zA-Z0-9._:!~ -]{0,12}|oci(-archive)?:[a/ ]{0,3}|[mj][0-9a-z]{10}|sha256:[0-9a-f]{63,65}|[a-z]{62,64}") {
            let fits = |pattern: &str| regex::Regex::new(pattern).unwrap().is_match(&text);
            prop_assert_eq!(MachineId::new(text.clone()).is_ok(), fits(MachineId::PATTERN));
            prop_assert_eq!(JobId::new(text.clone()).is_ok(), fits(JobId::PATTERN));
            prop_assert_eq!(PoolName::new(text.clone()).is_ok(), fits(PoolName::PATTERN));
            prop_assert_eq!(ForgeName::new(text.clone()).is_ok(), fits(ForgeName::PATTERN));
            prop_assert_eq!(ClusterName::new(text.clone()).is_ok(), fits(ClusterName::PATTERN));
            prop_assert_eq!(ClusterHost::new(text.clone()).is_ok(), fits(ClusterHost::PATTERN));
            prop_assert_eq!(ImageRef::new(text.clone()).is_ok(), fits(ImageRef::PATTERN));
            prop_assert_eq!(Digest::new(text.clone()).is_ok(), fits(Digest::PATTERN));
        }

        #[test]
        fn any_text_is_judged_without_panic(text in ".*") {
            let _ = (MachineId::new(text.clone()), PoolName::new(text.clone()), ImageRef::new(text.clone()),
                     Digest::new(text.clone()), Label::new(&text));
        }
    }

    #[test]
    fn errors_name_value_and_rule() {
        let error = PoolName::new("-x").unwrap_err().to_string();
        assert_eq!(
            error,
            "'-x' is not a valid pool name: use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit"
        );
    }

    #[test]
    fn labels_compare_without_case() {
        assert_eq!(Label::new("Self-Hosted").unwrap(), Label::new("self-hosted").unwrap());
        assert!(Label::new("a,b").is_err());
    }
}
