//! An App's own token: a JWT that its private key signs
//! (<https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>).

use std::sync::{Arc, Mutex, PoisonError};

use fireactions_http::read_secret;
use fireactions_model::Secret;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

use crate::{App, Error};

/// The token is dated back by so many seconds, for clocks that are a little off.
const BACKDATED: i64 = 60;
/// It lives this long from that date. GitHub allows ten minutes.
const LIFE: i64 = 9 * 60;

/// An App and its key, once read.
pub(super) struct AppKey {
    app: App,
    key: Mutex<Option<Arc<EncodingKey>>>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

impl AppKey {
    pub(super) fn new(app: App) -> Self {
        Self { app, key: Mutex::default() }
    }

    pub(super) fn id(&self) -> &str {
        &self.app.id
    }

    /// The value of an `Authorization` header that is good for some minutes from `now`.
    pub(super) async fn bearer(&self, now: Timestamp) -> Result<Secret, Error> {
        let key = self.key().await?;
        let iat = now.as_second() - BACKDATED;
        let claims = Claims { iat, exp: iat + LIFE, iss: &self.app.id };
        let jwt = encode(&Header::new(Algorithm::RS256), &claims, &key)
            .map_err(|e| Error::Credential(format!("the key of App {} cannot sign: {e}", self.app.id)))?;
        Ok(Secret::new(format!("Bearer {jwt}")))
    }

    async fn key(&self) -> Result<Arc<EncodingKey>, Error> {
        let kept = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(key) = kept {
            return Ok(key);
        }
        let pem = read_secret(&self.app.key, &format!("the key of App {}", self.app.id)).await?;
        let bad = |why: &str| Error::Credential(format!("the key of App {} {why}", self.app.id));
        if let Some(why) = mistake(pem.expose()) {
            return Err(bad(why));
        }
        // The library's error may repeat the key.
        let key = EncodingKey::from_rsa_pem(pem.expose().as_bytes()).map_err(|_| {
            bad("is not an RSA private key in PEM (BEGIN RSA PRIVATE KEY or BEGIN PRIVATE KEY); generate one on the App's page \
                 on GitHub")
        })?;
        let key = Arc::new(key);
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        Ok(key)
    }

    /// GitHub did not accept it: it is read again.
    pub(super) fn forget(&self) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What is wrong with a file that was meant to be a private key, as far as its frame tells.
fn mistake(pem: &str) -> Option<&'static str> {
    let has = |text: &str| pem.contains(text);
    match () {
        () if pem.trim().is_empty() => Some("is empty"),
        () if has("\\n") => Some(
            "has \\n written out in the place of line ends; write the file with real line ends (printf '%b')",
        ),
        () if has("ENCRYPTED") => {
            Some("has a passphrase, and nobody is there to type it; remove it: openssl rsa -in OLD -out NEW")
        }
        () if has("PUBLIC KEY-----") => Some(
            "is, or begins with, a public key; the file must have the private key alone, as GitHub gave it for download",
        ),
        () if has("BEGIN CERTIFICATE") => Some("is a certificate; the file must have the App's private key"),
        () if has("BEGIN OPENSSH PRIVATE KEY") || has("BEGIN EC PRIVATE KEY") => {
            Some("is of another kind than GitHub's; generate one on the App's page on GitHub")
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn app(pem: &'static str) -> AppKey {
        AppKey::new(App { id: "Iv23".into(), key: Arc::new(move || Ok(Secret::new(pem))) })
    }

    #[tokio::test]
    async fn a_key_that_is_none_is_said_without_repeating_it() {
        for pem in ["", "s3cret", "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n"] {
            let error = app(pem).bearer(Timestamp::now()).await.unwrap_err().to_string();
            assert!(error.contains("App Iv23") && !error.contains("s3cret"), "{error}");
        }
    }

    #[tokio::test]
    async fn each_mistake_with_a_key_is_told() {
        let framed = |kind: &str| format!("-----BEGIN {kind}-----\nczNjcmV0\n-----END {kind}-----\n");
        let both = framed("PUBLIC KEY") + &framed("PRIVATE KEY");
        for (pem, says) in [
            (framed("PUBLIC KEY"), "a public key"),
            (framed("RSA PUBLIC KEY"), "a public key"),
            (both, "a public key"),
            (framed("ENCRYPTED PRIVATE KEY"), "openssl rsa -in"),
            (framed("RSA PRIVATE KEY").replace("czN", "Proc-Type: 4,ENCRYPTED\n\nczN"), "openssl rsa -in"),
            (framed("RSA PRIVATE KEY").replace('\n', "\\n"), "real line ends"),
            (framed("CERTIFICATE"), "a certificate"),
            (framed("OPENSSH PRIVATE KEY"), "another kind"),
            ("\n".to_owned(), "is empty"),
        ] {
            let error = app(pem.clone().leak()).bearer(Timestamp::now()).await.unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("cannot sign"), "{pem}: {error}");
            assert!(error.contains("App Iv23") && !error.contains("czNjcmV0"), "{error}");
        }
    }

    #[tokio::test]
    async fn claims_are_within_what_github_allows() {
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = aws_lc_rs::encoding::AsDer::as_der(&pair).unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let bearer = app(pem.leak()).bearer(now).await.unwrap();
        let jwt = bearer.expose().strip_prefix("Bearer ").unwrap().to_owned();
        let parts: Vec<&str> = jwt.split('.').collect();
        let json = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        assert_eq!(json(parts[0])["alg"], "RS256");
        let now = now.as_second();
        assert_eq!(json(parts[1]), serde_json::json!({"iat": now - 60, "exp": now + 480, "iss": "Iv23"}));
        assert_eq!(parts.len(), 3);
    }
}
