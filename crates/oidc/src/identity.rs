//! Who somebody is, by what the provider has signed.

use std::collections::BTreeSet;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::Error;
use crate::discovery::Known;
use crate::pending::{Pending, same};

/// Clocks may differ by so many seconds.
const LEEWAY: u64 = 60;
/// What a key pair has signed; a shared secret or nothing at all signs nothing here.
const SIGNED: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// The most groups that are looked at.
const GROUPS: usize = 1000;

/// Somebody, as the provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What people call them: `preferred_username`, `email` or, where there is neither, `sub`.
    pub name: String,
    /// Their groups.
    pub groups: BTreeSet<String>,
}

pub(crate) type Claims = Map<String, Value>;

/// The key's name in a token's head; none where it has none.
pub(crate) fn key_name(token: &str) -> Result<Option<String>, Error> {
    decode_header(token).map(|head| head.kid).map_err(|_| invalid("it is not a signed token"))
}

/// Whether the provider's known keys have one of this name.
pub(crate) fn has_key(known: &Known, name: Option<&str>) -> bool {
    name.is_none_or(|name| known.keys.find(name).is_some())
}

/// What an id token says, once it is sure that the provider has said it, to us, now, and in this login.
pub(crate) fn verified(known: &Known, token: &str, client: &str, pending: &Pending) -> Result<Claims, Error> {
    let head = decode_header(token).map_err(|_| invalid("it is not a signed token"))?;
    if !SIGNED.contains(&head.alg) {
        return Err(invalid("it is not signed with a key pair"));
    }
    let keys = known.keys.keys.iter();
    let mut fitting = keys.filter(|key| head.kid.is_none() || key.common.key_id == head.kid);
    let mut validation = Validation::new(head.alg);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_issuer(&[&known.metadata.issuer]);
    validation.set_audience(&[client]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims = fitting.find_map(|key| {
        let key = DecodingKey::from_jwk(key).ok()?;
        decode::<Claims>(token, &key, &validation).ok()
    });
    let claims = claims
        .ok_or_else(|| {
            invalid("no key of the provider has signed it, it is for somebody else, or it is too old")
        })?
        .claims;
    // For several: to us all the same (section 3.1.3.7).
    let party = claims.get("azp").and_then(Value::as_str);
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    if party.is_some_and(|party| party != client) || (several && party.is_none()) {
        return Err(invalid("it was given to another client"));
    }
    let nonce = claims.get("nonce").and_then(Value::as_str).unwrap_or_default();
    if !same(nonce, &pending.nonce) {
        return Err(invalid("it is from another login"));
    }
    Ok(claims)
}

/// Who it is. `more`: what the provider has said beside the token.
pub(crate) fn identity(claims: &Claims, more: Option<&Claims>, groups_claim: &str) -> Identity {
    let said = |name: &str| claims.get(name).or_else(|| more?.get(name));
    let names = ["preferred_username", "email", "sub"];
    let name = names.iter().find_map(|name| said(name)?.as_str().filter(|name| !name.is_empty()));
    let groups = match said(groups_claim) {
        Some(Value::Array(list)) => {
            list.iter().take(GROUPS).filter_map(|one| one.as_str().map(ToOwned::to_owned)).collect()
        }
        Some(Value::String(one)) => BTreeSet::from([one.clone()]),
        _ => BTreeSet::new(),
    };
    Identity { name: name.unwrap_or("?").to_owned(), groups }
}

pub(crate) fn invalid(why: &str) -> Error {
    Error::Invalid(why.to_owned())
}

#[cfg(test)]
mod tests;
