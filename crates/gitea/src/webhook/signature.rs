//! Who sent a delivery (<https://docs.gitea.com/usage/repository/webhooks>).

use fireactions_http::webhook::{Forged, digest};
use fireactions_model::Secret;

use super::form::payload;

/// Checks the signature of a delivery: `gitea_signature` is its `X-Gitea-Signature` (hexadecimal digits), `hub_signature` its
/// `X-Hub-Signature-256` (`sha256=` and digits), which counts when the other is not there. `content_type` is the delivery's
/// own: of a form the JSON in it is what is signed. Any of the secrets may have made it, so that they can be rotated. The
/// time it takes tells nothing about them.
///
/// A hook without a secret sends both headers all the same, empty: that is [`Forged::Unsigned`].
///
/// # Errors
///
/// [`Forged`]; also without a secret, or with an empty one, by which anybody could sign.
pub fn verify(
    secrets: &[Secret],
    content_type: &str,
    body: &[u8],
    gitea_signature: Option<&str>,
    hub_signature: Option<&str>,
) -> Result<(), Forged> {
    let given = match (gitea_signature.map(str::trim), hub_signature.map(str::trim)) {
        (None | Some(""), None | Some("" | "sha256=")) => Err(Forged::Unsigned),
        (None | Some(""), Some(hub)) => hub.strip_prefix("sha256=").ok_or(Forged::Wrong).and_then(digest),
        (Some(gitea), _) => digest(gitea),
    };
    match payload(content_type, body) {
        Some(signed) => fireactions_http::webhook::verify(secrets, &signed, given),
        None => fireactions_http::webhook::verify(secrets, body, given.and(Err(Forged::Wrong))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    /// The vector that GitHub publishes, whose scheme it is.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn check(secrets: &[&str], gitea: Option<&str>, hub: Option<&str>) -> Result<(), Forged> {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        verify(&secrets, JSON, BODY, gitea, hub)
    }

    #[test]
    fn either_header_proves_it() {
        let hub = format!("sha256={SIGNATURE}");
        assert_eq!(check(&[SECRET], Some(SIGNATURE), Some(&hub)), Ok(()));
        assert_eq!(check(&[SECRET], Some(SIGNATURE), None), Ok(()));
        assert_eq!(check(&["new", SECRET], None, Some(&hub)), Ok(()));
        assert_eq!(check(&[SECRET], Some(&SIGNATURE.to_uppercase()), None), Ok(()));
    }

    #[test]
    fn a_hook_without_a_secret_is_refused() {
        for (gitea, hub) in [
            (Some(""), Some("sha256=")),
            (Some(""), None),
            (Some(" "), Some("")),
            (None, None),
            (None, Some("sha256=")),
        ] {
            assert_eq!(check(&[SECRET], gitea, hub), Err(Forged::Unsigned), "{gitea:?} {hub:?}");
        }
        assert_eq!(check(&[], Some(SIGNATURE), None), Err(Forged::NoSecret));
        assert_eq!(check(&["", ""], Some(SIGNATURE), None), Err(Forged::NoSecret));
    }

    #[test]
    fn anything_else_is_forged() {
        let hub = format!("sha256={SIGNATURE}");
        assert_eq!(check(&["other"], Some(SIGNATURE), None), Err(Forged::Wrong));
        // What an empty secret would sign is not taken beside a real one.
        let with_no_key = "2bbcfa9524f3218c7a34b30e6936f8b1a4516cb097f1a85a1c7d98b5977ec769";
        assert_eq!(check(&["", SECRET], Some(with_no_key), None), Err(Forged::Wrong));
        for wrong in [&hub, &SIGNATURE[1..], &format!("{SIGNATURE}0"), &"ä".repeat(32), "x"] {
            assert_eq!(check(&[SECRET], Some(wrong), None), Err(Forged::Wrong), "{wrong}");
            // A wrong one is not made good by the other header.
            assert_eq!(check(&[SECRET], Some(wrong), Some(&hub)), Err(Forged::Wrong), "{wrong}");
        }
        for wrong in [SIGNATURE, "sha1=00", "sha256=x"] {
            assert_eq!(check(&[SECRET], None, Some(wrong)), Err(Forged::Wrong), "{wrong}");
        }
    }

    #[test]
    fn of_a_form_the_json_in_it_is_signed() {
        let secrets = [Secret::new(SECRET)];
        let body = b"payload=Hello%2C+World%21&other=1";
        for kind in [FORM, "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
            assert_eq!(verify(&secrets, kind, body, Some(SIGNATURE), None), Ok(()));
        }
        assert_eq!(verify(&secrets, JSON, body, Some(SIGNATURE), None), Err(Forged::Wrong));
        assert_eq!(verify(&secrets, FORM, BODY, Some(SIGNATURE), None), Err(Forged::Wrong), "no payload");
        assert_eq!(verify(&secrets, FORM, b"", None, None), Err(Forged::Unsigned));
        assert_eq!(verify(&[], FORM, b"", Some(SIGNATURE), None), Err(Forged::NoSecret));
    }
}
