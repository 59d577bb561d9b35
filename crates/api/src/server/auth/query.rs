//! Tokens in addresses: they are kept in histories, logs and `Referer`s, so none is taken there.

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use super::caller::{Key, matching};
use crate::Fault;

/// What people call a token in a query.
const NAMES: [&str; 7] =
    ["token", "access_token", "api_token", "auth_token", "bearer", "authorization", "password"];

/// Refuses a request that calls something in its address a token, and does not repeat it. It is the same for all, and says nothing
/// about any token.
pub(super) fn names(uri: &Uri) -> Result<(), Fault> {
    refuse_if(uri, |name, _| NAMES.iter().any(|bad| name.eq_ignore_ascii_case(bad)))
}

/// Refuses a request that has one of the tokens in its address, whatever it calls it. Only for who is known: others would learn by
/// it what is a token.
pub(super) fn values(uri: &Uri, keys: &[Key]) -> Result<(), Fault> {
    refuse_if(uri, |_, value| matching(value, keys).is_some())
}

fn refuse_if(uri: &Uri, bad: impl Fn(&str, &str) -> bool) -> Result<(), Fault> {
    let query = uri.query().unwrap_or_default();
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty()).map(pair);
    if !pairs.any(|(name, value)| bad(&name, &value)) {
        return Ok(());
    }
    Err(Fault::invalid("a token in an address is not taken: addresses are kept in logs and histories")
        .hint("send it as `Authorization: Bearer TOKEN`, or log in with it; if this one is real, replace it"))
}

fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (decoded(name), decoded(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, Token};

    #[test]
    fn tokens_are_seen_whatever_they_are_called() {
        let token = Token::new("0123456789abcdef").unwrap();
        let keys = [Key { name: "a".to_owned(), role: Role::Viewer, token }];
        let check = |uri: &Uri| names(uri).and_then(|()| values(uri, &keys));
        let taken = |query: &str| check(&format!("/api/v1/jobs?{query}").parse().unwrap()).is_ok();
        for good in ["", "limit=5&active=true", "image=token", "tokens=1", "a=%zz%", "x=0123456789abcdee"] {
            assert!(taken(good), "{good}");
        }
        for bad in [
            "token=x",
            "limit=5&TOKEN=x",
            "access%5ftoken=x",
            "x=0123456789abcdef",
            "x=%30123456789abcdef",
            "0=1&token",
        ] {
            assert!(!taken(bad), "{bad}");
        }
        let fault = check(&"/x?token=0123456789abcdef".parse().unwrap()).unwrap_err();
        assert!(!format!("{fault:?}").contains("0123456789"), "{fault:?}");
    }
}
