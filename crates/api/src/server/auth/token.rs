//! Bearer tokens.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// A bearer token. Only its hash is kept, so that comparing takes the same time whatever was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has 16 to 512 printable characters without spaces; make one with `openssl rand -hex 32`")]
pub struct WeakToken;

impl Token {
    /// Takes a token from the text of a file; outer white space is ignored.
    pub fn new(text: &str) -> Result<Self, WeakToken> {
        let text = text.trim();
        if (16..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(Sha256::digest(text).into()))
        } else {
            Err(WeakToken)
        }
    }

    pub(super) const fn hash(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn is(&self, sent: &Self) -> bool {
        self.0.ct_eq(&sent.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole_and_never_shown() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.is(&Token::new("0123456789abcdef").unwrap()));
        assert!(!token.is(&Token::new("0123456789abcdeF").unwrap()));
        assert_eq!(Token::new(""), Err(WeakToken));
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert_eq!(Token::new("short"), Err(WeakToken));
        assert_eq!(Token::new("with a space in the middle"), Err(WeakToken));
    }
}
