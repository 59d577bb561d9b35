//! Credentials as `nsc` writes them: who a user is, signed by an account, and the key that proves it. The key never leaves the host:
//! NATS sends a number, and gets it signed.

use async_nats::{Auth, AuthError};
use fireactions_model::Secret;
use nkeys::KeyPair;

const TOKEN: &str = "NATS USER JWT";
const SEED: &str = "USER NKEY SEED";

/// What answers the number that the server sends. An error says nothing of the file's content.
pub(crate) fn answer(creds: &Secret, nonce: &[u8]) -> Result<Auth, AuthError> {
    let (token, key) = parse(creds).map_err(AuthError::new)?;
    let signature = key.sign(nonce).map_err(|_| AuthError::new("the key cannot sign"))?;
    let mut auth = Auth::new();
    auth.jwt = Some(token);
    auth.signature = Some(signature);
    Ok(auth)
}

/// The token and the key.
pub(crate) fn parse(creds: &Secret) -> Result<(String, KeyPair), String> {
    let part = |name: &str| {
        let head = format!("BEGIN {name}");
        let lines = creds.expose().lines().skip_while(|line| !line.contains(&head)).skip(1);
        let text: String = lines.take_while(|line| !line.starts_with("---")).map(str::trim).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    let no =
        |name: &str| format!("there is no part '{name}' in the file; write it with `nsc generate creds`");
    let token = part(TOKEN).ok_or_else(|| no(TOKEN))?;
    let seed = part(SEED).ok_or_else(|| no(SEED))?;
    let key = KeyPair::from_seed(&seed).map_err(|_| {
        format!("the part '{SEED}' of the file is not a key; write it with `nsc generate creds`")
    })?;
    Ok((token, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(seed: &str) -> Secret {
        Secret::new(format!(
            "-----BEGIN NATS USER JWT-----\nhead.body.sign\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        ))
    }

    #[test]
    fn a_number_is_signed_by_the_key_of_the_file() {
        let key = KeyPair::new_user();
        let auth = answer(&file(&key.seed().unwrap()), b"number").unwrap();
        assert_eq!(auth.jwt.as_deref(), Some("head.body.sign"));
        key.verify(b"number", &auth.signature.unwrap()).unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_without_its_content() {
        let said = |text: &Secret| parse(text).err().unwrap();
        assert!(said(&Secret::new("hunter2")).contains("no part 'NATS USER JWT'"));
        let error = said(&file("hunter2"));
        assert!(
            error.contains("'USER NKEY SEED' of the file is not a key") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
