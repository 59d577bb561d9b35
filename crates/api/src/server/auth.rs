//! Who may ask. A Unix socket is guarded by its permissions; TCP needs a token, except on loopback, where web
//! pages in a local browser are kept out instead.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::Response;
use fireactions_model::network_rules;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::{Code, Fault};

/// A bearer token. Only its hash is kept, so that comparing takes the same time whatever was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// Why a text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token has 16 to 512 printable characters without spaces; make one with `openssl rand -hex 32`")]
pub struct WeakToken;

impl Token {
    /// Takes a token from the text of a file; outer white space is ignored.
    pub fn new(text: &str) -> Result<Self, WeakToken> {
        let text = text.trim();
        if (16..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(Sha256::digest(text).into()))
        } else {
            Err(WeakToken)
        }
    }

    fn matches(&self, sent: &str) -> bool {
        let sent: [u8; 32] = Sha256::digest(sent).into();
        self.0.ct_eq(&sent).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How one listener knows its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A Unix socket: whoever may open it may use it.
    Socket,
    /// Loopback TCP without a token: local programs, but no web page (by `Origin` and by `Host`, against DNS
    /// rebinding).
    Loopback,
    /// `Authorization: Bearer …`; `/healthz` and `/readyz` are open.
    Token(Token),
}

/// The middleware.
pub(super) async fn require(
    State(auth): State<Arc<Auth>>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    match auth.as_ref() {
        Auth::Socket => {}
        Auth::Loopback => local_only(request.headers(), request.uri())?,
        Auth::Token(token) => {
            if !is_open(request.uri().path()) {
                bearer(request.headers(), token)?;
            }
        }
    }
    Ok(next.run(request).await)
}

/// Whether a path needs no token: whether the server lives is for everybody to ask.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

fn bearer(headers: &HeaderMap, token: &Token) -> Result<(), Fault> {
    let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let hint = "give the token with --token-file FILE or `Authorization: Bearer TOKEN`";
    let Some((scheme, sent)) = sent.and_then(|value| value.split_once(' ')) else {
        return Err(Fault::new(Code::Unauthorized, "this address needs a token").hint(hint));
    };
    if scheme.eq_ignore_ascii_case("bearer") && token.matches(sent.trim()) {
        Ok(())
    } else {
        Err(Fault::new(Code::Unauthorized, "the token is not this server's token").hint(hint))
    }
}

fn local_only(headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
    let refuse = |what: &str| {
        Err(Fault::new(Code::Forbidden, format!("requests with this {what} are refused without a token"))
            .hint("set api_token_file to allow more than local programs"))
    };
    if headers.contains_key(ORIGIN) {
        return refuse("Origin");
    }
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).or_else(|| uri.host());
    if host.is_some_and(is_loopback_name) { Ok(()) } else { refuse("Host") }
}

fn is_loopback_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(network_rules::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole_and_never_shown() {
        let token = Token::new("0123456789abcdef\n").unwrap();
        assert!(token.matches("0123456789abcdef"));
        assert!(!token.matches("0123456789abcdeF"));
        assert!(!token.matches(""));
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert_eq!(Token::new("short"), Err(WeakToken));
        assert_eq!(Token::new("with a space in the middle"), Err(WeakToken));
    }

    #[test]
    fn loopback_names() {
        for good in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:8080", "127.9.9.9"] {
            assert!(is_loopback_name(good), "{good}");
        }
        for bad in
            ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost.evil.example:80", "", "a b"]
        {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }
}
