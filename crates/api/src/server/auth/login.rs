//! A login on its way in, and its cookie.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::audit::Deed;
use super::caller::{Peer, Source};
use super::gate::{Gate, NoLogin};
use super::request::{COOKIE_NAME, is_by_tls, source};

/// Somebody who wants to log in.
pub(in crate::server) struct Attempt<'a> {
    from: Source,
    headers: &'a HeaderMap,
    uri: &'a Uri,
}

impl<'a> Attempt<'a> {
    pub(in crate::server) fn new(peer: Option<Peer>, headers: &'a HeaderMap, uri: &'a Uri) -> Self {
        Self { from: source(peer, headers), headers, uri }
    }

    /// Logs in, and says so in the log; gives the cookie.
    pub(in crate::server) async fn log_in(self, gate: &Gate, token: &str) -> Result<HeaderValue, NoLogin> {
        let Self { from, headers, uri } = self;
        let came = gate.log_in(token, from, headers, uri).await;
        let deed = |caller| Deed::new(caller, &Method::POST, uri.path(), from);
        match came {
            Ok((secret, caller)) => {
                deed(Some(&caller)).log(StatusCode::NO_CONTENT);
                Ok(cookie(&secret, is_by_tls(headers), ""))
            }
            Err(why) => {
                deed(None).log(match &why {
                    NoLogin::Wait(_) => StatusCode::TOO_MANY_REQUESTS,
                    NoLogin::Fault(fault) => fault.code.status(),
                });
                Err(why)
            }
        }
    }
}

/// What takes the cookie away.
pub(in crate::server) fn no_cookie() -> HeaderValue {
    cookie("", false, "; Max-Age=0")
}

fn cookie(secret: &str, tls: bool, more: &str) -> HeaderValue {
    let secure = if tls { "; Secure" } else { "" };
    let text = format!("{COOKIE_NAME}={secret}; HttpOnly; SameSite=Strict; Path=/{secure}{more}");
    // Letters and digits alone.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
