//! What tells a machine's agent from whoever else in its guest reaches the host.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// Given to a machine with its identity and said by its agent at the start of every later session. Hexadecimal digits on
/// the wire and on the disk.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentSecret([u8; 32]);

impl AgentSecret {
    /// A secret of these bytes, which should come from the system's generator.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads what [`AgentSecret::reveal`] gave; `None` when it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// 64 hexadecimal digits. The only way to get at it, and for nobody's eyes.
    pub fn reveal(&self) -> String {
        use fmt::Write;
        self.0.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl PartialEq for AgentSecret {
    /// In a time that does not depend on how much is the same.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for AgentSecret {}

impl fmt::Debug for AgentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentSecret(…)")
    }
}

impl TryFrom<String> for AgentSecret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("an agent's secret is 64 hexadecimal digits")
    }
}

impl From<AgentSecret> for String {
    fn from(secret: AgentSecret) -> Self {
        secret.reveal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_not_shown() {
        let secret = AgentSecret::from_random(std::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        let text = secret.reveal();
        assert_eq!(AgentSecret::parse(&text), Some(secret.clone()));
        assert_ne!(AgentSecret::from_random([0; 32]), secret);
        let json = serde_json::to_string(&secret).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<AgentSecret>(&json).unwrap(), secret);
        for bad in ["", "00", &text[1..], &format!("{text}0"), &format!("+{}", &text[1..]), &"é".repeat(32)]
        {
            assert_eq!(AgentSecret::parse(bad), None, "{bad}");
        }
        assert!(!format!("{secret:?}").contains(&text[..8]));
    }
}
