//! Who sent a delivery: HMAC-SHA256 over its body.

use fireactions_model::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Nobody who knows a secret sent this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// There is no secret to check with.
    #[error("no secret is set for the webhook: set one here and at the forge")]
    NoSecret,
    /// There is no signature.
    #[error("the delivery is not signed: set the webhook's secret at the forge")]
    Unsigned,
    /// It is not one, or made with another secret or for another body.
    #[error("the delivery's signature was not made with the webhook's secret")]
    Wrong,
}

/// Checks that `given` is the HMAC-SHA256 of `signed` with one of the secrets; any may have made it, so that they can be
/// rotated. The time it takes tells nothing about them.
///
/// # Errors
///
/// [`Forged`]; without a secret, or with empty ones only, by which anybody could sign, [`Forged::NoSecret`] before what
/// `given` says.
pub fn verify(secrets: &[Secret], signed: &[u8], given: Result<[u8; 32], Forged>) -> Result<(), Forged> {
    if secrets.iter().all(|secret| secret.expose().is_empty()) {
        return Err(Forged::NoSecret);
    }
    let given = given?;
    let mut good = false;
    for secret in secrets.iter().filter(|secret| !secret.expose().is_empty()) {
        // A key of any length is one.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { continue };
        mac.update(signed);
        // Constant in time.
        good |= mac.verify_slice(&given).is_ok();
    }
    if good { Ok(()) } else { Err(Forged::Wrong) }
}

/// A signature's 64 hexadecimal digits.
///
/// # Errors
///
/// [`Forged::Wrong`]
pub fn digest(text: &str) -> Result<[u8; 32], Forged> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(Forged::Wrong);
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let both = value(pair[0]).zip(value(pair[1]));
        let (high, low) = both.ok_or(Forged::Wrong)?;
        *byte = high << 4 | low;
    }
    Ok(bytes)
}
