//! Who may ask. A Unix socket is guarded by its permissions; TCP needs a token, except on loopback, where web
//! pages in a local browser are kept out instead.

mod audit;
mod caller;
mod rights;
mod token;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fireactions_model::network_rules;

use self::audit::Deed;
use self::caller::Caller;
pub use self::caller::{Key, Peer, Role};
pub use self::token::{Token, WeakToken};
use crate::{Code, Fault};

/// Before the answer to a wrong token.
const WRONG_TOKEN: Duration = Duration::from_millis(500);

/// How one listener knows its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A Unix socket: whoever may open it may use it.
    Socket,
    /// Loopback TCP without a token: local programs, but no web page (by `Origin` and by `Host`, against DNS
    /// rebinding).
    Loopback,
    /// `Authorization: Bearer …`; `/healthz` and `/readyz` are open.
    Keys(Arc<[Key]>),
}

/// The middleware: lets a request pass whose caller may ask it, and logs what changes something.
pub(super) async fn require(
    State(auth): State<Arc<Auth>>,
    route: Option<MatchedPath>,
    peer: Option<Extension<Peer>>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let path = request.uri().path();
    if matches!(auth.as_ref(), Auth::Keys(_)) && is_open(path) {
        return Ok(next.run(request).await);
    }
    let caller = match auth.as_ref() {
        Auth::Socket => Caller { name: "socket".to_owned(), role: Role::Admin },
        Auth::Loopback => {
            local_only(request.headers(), request.uri())?;
            Caller { name: "loopback".to_owned(), role: Role::Admin }
        }
        Auth::Keys(keys) => match bearer(request.headers(), keys) {
            Ok(key) => Caller { name: key.name.clone(), role: key.role },
            Err(fault) => {
                // Whoever guesses has few guesses; who mistyped waits a moment.
                tokio::time::sleep(WRONG_TOKEN).await;
                return Err(fault);
            }
        },
    };
    let needed = rights::needed(request.method(), route.as_ref().map_or(path, MatchedPath::as_str));
    let deed = (needed > Role::Viewer)
        .then(|| Deed::new(&caller, request.method(), path, peer.map(|Extension(peer)| peer)));
    let answer = if caller.role >= needed {
        next.run(request).await
    } else {
        let why = format!(
            "the token '{}' has the role {}, and this needs the role {needed}",
            caller.name, caller.role
        );
        Fault::new(Code::Forbidden, why)
            .hint("use a token with that role; the server's api_tokens say which there are")
            .into_response()
    };
    if let Some(deed) = deed {
        deed.log(answer.status());
    }
    Ok(answer)
}

/// Whether a path needs no token: whether the server lives is for everybody to ask.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// The key whose token was sent.
fn bearer<'a>(headers: &HeaderMap, keys: &'a [Key]) -> Result<&'a Key, Fault> {
    let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let hint = "give the token with --token-file FILE or `Authorization: Bearer TOKEN`";
    let Some((scheme, sent)) = sent.and_then(|value| value.split_once(' ')) else {
        return Err(Fault::new(Code::Unauthorized, "this address needs a token").hint(hint));
    };
    let mut known = None;
    for key in keys {
        // All of them, so that how long it takes does not tell which.
        if key.token.matches(sent.trim()) {
            known = Some(key);
        }
    }
    known
        .filter(|_| scheme.eq_ignore_ascii_case("bearer"))
        .ok_or_else(|| Fault::new(Code::Unauthorized, "the token is not one of this server's").hint(hint))
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
