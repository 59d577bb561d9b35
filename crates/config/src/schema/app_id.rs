//! A GitHub App's id.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::patterns;

/// A GitHub App's id: its number, or its client id.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("type" = ["integer", "string"], "pattern" = patterns::APP_ID, "not" = {"const": 0}))]
pub struct AppId(pub String);

/// Longest id that is accepted, in characters; client ids have twenty.
const MAX: usize = 40;

impl<'de> Deserialize<'de> for AppId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AppIdVisitor)
    }
}

struct AppIdVisitor;

impl Visitor<'_> for AppIdVisitor {
    type Value = AppId;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a GitHub App's number, or its client id (Iv…)")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<AppId, E> {
        if number == 0 {
            return Err(E::custom("no App has the number 0; the App's page on GitHub shows its App ID"));
        }
        Ok(AppId(number.to_string()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AppId, E> {
        // The text may be a secret under the wrong key: it must not be in the message.
        let fine = !text.is_empty()
            && text != "0"
            && text.len() <= MAX
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        if fine {
            return Ok(AppId(text.to_owned()));
        }
        Err(E::custom(
            "this is not an App's id: write its number, or its client id (Iv…), as its page on GitHub shows it",
        ))
    }
}
