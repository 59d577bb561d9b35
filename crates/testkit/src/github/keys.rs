//! An app's RSA key, in both of the forms in which people keep them.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};

use crate::certificate::pem;

/// A private key as its owner downloads it.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) pkcs1: String,
    pub(super) pkcs8: String,
    public: Vec<u8>,
}

impl Key {
    pub(super) fn generate() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let der: Pkcs8V1Der<'_> = pair.as_der().expect("a key has an encoding");
        let der = der.as_ref();
        Self {
            pkcs1: pem("RSA PRIVATE KEY", inner(der)),
            pkcs8: pem("PRIVATE KEY", der),
            public: pair.public_key().as_ref().to_vec(),
        }
    }

    /// Whether this key made the signature.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public);
        key.verify(message, signature).is_ok()
    }
}

/// The PKCS#1 key in a PKCS#8 one: the octet string after the version and the algorithm (RFC 5208, section 5).
fn inner(pkcs8: &[u8]) -> &[u8] {
    let (sequence, _) = element(pkcs8);
    let (_version, rest) = element(sequence);
    let (_algorithm, rest) = element(rest);
    element(rest).0
}

/// The content of the first element, and what follows it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let first = usize::from(der[1]);
    let (length, head) = if first < 0x80 {
        (first, 2)
    } else {
        let bytes = &der[2..2 + (first & 0x7f)];
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
    };
    (&der[head..head + length], &der[head + length..])
}
