//! A login on its way in, and its cookie.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::audit::Deed;
use super::caller::{Caller, Peer, Source};
use super::gate::{Gate, NoLogin, no_provider};
use super::people::Answer;
use super::request::{is_by_tls, source};
use crate::Fault;

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
        let came = gate.log_in(token, self.from, self.headers, self.uri).await;
        self.came(gate, &Method::POST, came)
    }

    /// Comes back from the provider, and says so in the log; gives the cookie.
    pub(in crate::server) async fn come_back(
        self,
        gate: &Gate,
        answer: &Answer,
    ) -> Result<HeaderValue, NoLogin> {
        let came = gate.come_back(self.from, self.headers, answer).await;
        self.came(gate, &Method::GET, came)
    }

    fn came(
        self,
        gate: &Gate,
        method: &Method,
        came: Result<(String, Caller), NoLogin>,
    ) -> Result<HeaderValue, NoLogin> {
        let Self { from, headers, uri } = self;
        let deed = |caller| Deed::new(caller, method, uri.path(), from);
        match came {
            Ok((secret, caller)) => {
                deed(Some(&caller)).log(StatusCode::NO_CONTENT);
                Ok(cookie(gate.cookie_name(), &secret, is_by_tls(headers), ""))
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

/// To the provider: where a browser goes, and what it brings back.
pub(in crate::server) async fn go(
    gate: &Gate,
    headers: &HeaderMap,
) -> Result<(url::Url, HeaderValue), Fault> {
    gate.oidc().ok_or_else(no_provider)?.begin(headers).await
}

/// What takes the cookie away.
pub(in crate::server) fn no_cookie(gate: &Gate) -> HeaderValue {
    cookie(gate.cookie_name(), "", false, "; Max-Age=0")
}

fn cookie(name: &str, secret: &str, tls: bool, more: &str) -> HeaderValue {
    let secure = if tls { "; Secure" } else { "" };
    let text = format!("{name}={secret}; HttpOnly; SameSite=Strict; Path=/{secure}{more}");
    // Letters and digits alone.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
