//! A login that has begun.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What only we know of a login that has begun.
#[derive(Clone)]
pub struct Pending {
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending(…)")
    }
}

impl Pending {
    pub(crate) fn new() -> Self {
        Self { state: random(), nonce: random(), verifier: random() }
    }

    /// As a cookie keeps it in the browser that has begun: it is nobody else's business, and no secret from its own.
    pub fn to_text(&self) -> String {
        format!("{}.{}.{}", self.state, self.nonce, self.verifier)
    }

    /// From what [`Self::to_text`] gave.
    pub fn from_text(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let [state, nonce, verifier] = parts[..] else { return None };
        let fits = |part: &&str| part.len() == 43 && URL_SAFE_NO_PAD.decode(part).is_ok();
        [state, nonce, verifier].iter().all(fits).then(|| Self {
            state: state.to_owned(),
            nonce: nonce.to_owned(),
            verifier: verifier.to_owned(),
        })
    }

    /// Whether an answer is to this login.
    pub fn is_answered_by(&self, state: &str) -> bool {
        same(&self.state, state)
    }

    /// What the provider is told of the verifier before it gets it (RFC 7636, `S256`).
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.verifier))
    }
}

pub(crate) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_comes_back_as_it_went_and_nothing_else_does() {
        let one = Pending::new();
        let again = Pending::from_text(&one.to_text()).unwrap();
        assert_eq!((&again.state, &again.nonce, &again.verifier), (&one.state, &one.nonce, &one.verifier));
        assert!(
            again.is_answered_by(&one.state)
                && !again.is_answered_by(&one.nonce)
                && !again.is_answered_by("")
        );
        let (short, more) = (one.to_text()[1..].to_owned(), one.to_text() + ".x");
        for bad in ["", "..", "a.b.c", &short, &more, &one.to_text().replace('.', ";")] {
            assert!(Pending::from_text(bad).is_none(), "{bad}");
        }
        assert!(!format!("{one:?}").contains(&one.state));
    }

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned();
        let pending = Pending { verifier, ..Pending::new() };
        assert_eq!(pending.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
