//! Who sent a delivery
//! (<https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>).

use fireactions_http::webhook::{Forged, digest};
use fireactions_model::Secret;

/// How the header begins.
const PREFIX: &str = "sha256=";

/// Checks the signature of a delivery, `X-Hub-Signature-256`, over its body as it was sent. Any of the secrets may have
/// made it, so that they can be rotated. The time it takes tells nothing about them.
///
/// # Errors
///
/// [`Forged`]; also without a secret, or with an empty one, by which anybody could sign.
pub fn verify(secrets: &[Secret], body: &[u8], signature: Option<&str>) -> Result<(), Forged> {
    let given = match signature.map(str::trim) {
        None | Some("") => Err(Forged::Unsigned),
        Some(text) => text.strip_prefix(PREFIX).ok_or(Forged::Wrong).and_then(digest),
    };
    fireactions_http::webhook::verify(secrets, body, given)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published by GitHub.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn check(secrets: &[&str], body: &[u8], signature: Option<&str>) -> Result<(), Forged> {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        verify(&secrets, body, signature)
    }

    #[test]
    fn the_published_vector() {
        assert_eq!(check(&[SECRET], BODY, Some(SIGNATURE)), Ok(()));
        assert_eq!(check(&["new", SECRET], BODY, Some(SIGNATURE)), Ok(()));
        assert_eq!(check(&[SECRET], BODY, Some(&SIGNATURE.replace("ea0e", "EA0E"))), Ok(()));
    }

    #[test]
    fn anything_else_is_forged() {
        assert_eq!(check(&[], BODY, Some(SIGNATURE)), Err(Forged::NoSecret));
        assert_eq!(check(&["", ""], BODY, Some(SIGNATURE)), Err(Forged::NoSecret));
        for unsigned in [None, Some(""), Some("  ")] {
            assert_eq!(check(&[SECRET], BODY, unsigned), Err(Forged::Unsigned));
        }
        assert_eq!(check(&["other"], BODY, Some(SIGNATURE)), Err(Forged::Wrong));
        assert_eq!(check(&[SECRET], b"Hello, World?", Some(SIGNATURE)), Err(Forged::Wrong));
        // What an empty secret would sign is not taken beside a real one.
        let with_no_key = "sha256=2bbcfa9524f3218c7a34b30e6936f8b1a4516cb097f1a85a1c7d98b5977ec769";
        assert_eq!(check(&["", SECRET], BODY, Some(with_no_key)), Err(Forged::Wrong));
        let bare = SIGNATURE.trim_start_matches("sha256=");
        let wrong = [
            bare.to_owned(),
            format!("sha1={bare}"),
            format!("sha256={}", &bare[1..]),
            format!("{SIGNATURE}0"),
            format!("sha256={}", "ä".repeat(32)),
            format!("sha256={}", "+f".repeat(32)),
            "sha256=".to_owned(),
        ];
        for wrong in wrong {
            assert_eq!(check(&[SECRET], BODY, Some(&wrong)), Err(Forged::Wrong), "{wrong}");
        }
    }
}
