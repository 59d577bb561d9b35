use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://sso.example";

struct Signer {
    pkcs8: Vec<u8>,
    key: Value,
}

impl Signer {
    fn new(name: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        let key = json!({"kty": "EC", "crv": "P-256", "kid": name, "use": "sig", "x": x, "y": y});
        Self { pkcs8: pair.to_pkcs8v1().unwrap().as_ref().to_vec(), key }
    }

    fn sign(&self, claims: &Value, name: Option<&str>) -> String {
        let head = Header { kid: name.map(ToOwned::to_owned), ..Header::new(Algorithm::ES256) };
        encode(&head, claims, &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }
}

fn known(signer: &Signer) -> Known {
    let metadata = json!({
        "issuer": ISSUER, "authorization_endpoint": "https://sso.example/a",
        "token_endpoint": "https://sso.example/t", "jwks_uri": "https://sso.example/k",
    });
    Known {
        metadata: serde_json::from_value(metadata).unwrap(),
        keys: serde_json::from_value(json!({"keys": [signer.key]})).unwrap(),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(pending: &Pending) -> Value {
    json!({"iss": ISSUER, "aud": "ci", "sub": "7", "exp": now() + 60, "iat": now(), "nonce": pending.nonce,
           "groups": ["a", "b", 3], "email": "anna@example.com"})
}

#[test]
fn what_the_provider_has_signed_for_us_is_believed() {
    let (signer, pending) = (Signer::new("one"), Pending::new());
    let known = known(&signer);
    let said = claims(&pending);
    for name in [Some("one"), None] {
        let token = signer.sign(&said, name);
        let found = verified(&known, &token, "ci", &pending).unwrap();
        let anna = identity(&found, None, "groups");
        assert_eq!((anna.name.as_str(), anna.groups.len()), ("anna@example.com", 2));
    }
    assert!(has_key(&known, Some("one")) && has_key(&known, None) && !has_key(&known, Some("two")));
    assert_eq!(key_name(&signer.sign(&said, Some("two"))), Ok(Some("two".to_owned())));
    let mut several = said.clone();
    several["aud"] = json!(["ci", "other"]);
    several["azp"] = json!("ci");
    assert!(verified(&known, &signer.sign(&several, None), "ci", &pending).is_ok());
    // A single group as a text; no groups at all; what stands beside the token.
    let one = json!({"sub": "7", "roles": "ops"});
    assert_eq!(identity(one.as_object().unwrap(), None, "roles").groups, BTreeSet::from(["ops".to_owned()]));
    assert!(identity(one.as_object().unwrap(), None, "groups").groups.is_empty());
    let more = json!({"groups": ["x"], "preferred_username": "anna"});
    let both = identity(one.as_object().unwrap(), more.as_object(), "groups");
    assert_eq!((both.name.as_str(), both.groups.len()), ("anna", 1));
}

#[test]
fn nothing_else_is() {
    let (signer, stranger, pending) = (Signer::new("one"), Signer::new("one"), Pending::new());
    let known = known(&signer);
    let refused = |token: &str| {
        let error = verified(&known, token, "ci", &pending).unwrap_err();
        assert!(token.is_empty() || !error.to_string().contains(token));
    };
    let changes = [
        ("iss", json!("https://evil.example")),
        ("aud", json!("other")),
        ("aud", json!(["ci", "other"])),
        ("azp", json!("other")),
        ("exp", json!(now() - 3600)),
        ("exp", Value::Null),
        ("nbf", json!(now() + 3600)),
        ("nonce", json!("x")),
        ("nonce", Value::Null),
    ];
    for (name, value) in changes {
        let mut said = claims(&pending);
        said[name] = value;
        if said[name].is_null() {
            said.as_object_mut().unwrap().remove(name);
        }
        refused(&signer.sign(&said, Some("one")));
    }
    let said = claims(&pending);
    refused(&stranger.sign(&said, Some("one")));
    refused(&signer.sign(&said, Some("two")));
    // With the public key as a shared secret, and with nothing at all.
    let public = signer.key["x"].as_str().unwrap();
    let shared = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::HS256) };
    refused(&encode(&shared, &said, &EncodingKey::from_secret(public.as_bytes())).unwrap());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    refused(&format!("{}.{}.", part(&json!({"alg": "none", "kid": "one"})), part(&said)));
    let token = signer.sign(&said, Some("one"));
    refused(&token[..token.len() - 4]);
    refused("");
    refused("a.b.c");
}
