//! Who may come in, with what: the keys and logins of one server, for all of its listeners.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, Uri};

use super::Auth;
use super::attempts::Attempts;
use super::caller::{Caller, Key, Source, matching};
use super::people::{Answer, Oidc};
use super::request::{
    cookie_named, host, is_from_afar, is_loopback_name, is_own_page, needs_origin, passed_on,
};
use super::sessions::Sessions;
use crate::{Code, Fault, Role, Via};

/// Before the answer to a wrong token.
const WRONG_TOKEN: Duration = Duration::from_millis(500);
const HINT: &str =
    "give the token with --token-file FILE or `Authorization: Bearer TOKEN`, or log in with it";

/// The keys and logins of one server.
#[derive(Clone)]
pub(in crate::server) struct Gate {
    keys: Arc<[Key]>,
    sessions: Arc<Sessions>,
    attempts: Arc<Attempts>,
    /// A provider by which people log in, and its mark.
    oidc: Option<Arc<(Oidc, String)>>,
}

/// A login that was not one.
pub(in crate::server) enum NoLogin {
    /// Too many were wrong: how long to wait.
    Wait(Duration),
    Fault(Fault),
}

impl Gate {
    pub(in crate::server) fn new(keys: Vec<Key>, sessions: Option<PathBuf>) -> Self {
        let sessions = sessions.map_or_else(Sessions::default, Sessions::kept_in);
        Self { keys: keys.into(), sessions: Arc::new(sessions), attempts: Arc::default(), oidc: None }
    }

    /// Lets in whom this provider sends.
    pub(in crate::server) fn with_oidc(&mut self, oidc: Oidc) {
        let mark = oidc.mark();
        self.oidc = Some(Arc::new((oidc, mark)));
    }

    /// The provider by which people log in.
    pub(in crate::server) fn oidc(&self) -> Option<&Oidc> {
        self.oidc.as_ref().map(|oidc| &oidc.0)
    }

    /// What the cookies of this server's logins are called.
    pub(super) fn cookie_name(&self) -> &str {
        self.sessions.cookie_name()
    }

    /// Whether anybody can log in with a token.
    pub(in crate::server) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Ends a login by the provider: gives what the cookie says, and who it is.
    pub(super) async fn come_back(
        &self,
        from: Source,
        headers: &HeaderMap,
        answer: &Answer,
    ) -> Result<(String, Caller), NoLogin> {
        let Some(oidc) = &self.oidc else { return Err(NoLogin::Fault(no_provider())) };
        let (oidc, mark) = &**oidc;
        let pending = Oidc::begun(headers, answer).map_err(NoLogin::Fault)?;
        let address = from.address();
        if let Some(wait) = self.attempts.wait(address) {
            return Err(NoLogin::Wait(wait));
        }
        let person = match oidc.finish(&pending, answer).await {
            Ok(person) => person,
            Err(fault) => {
                // Whoever guesses codes has few guesses.
                if fault.code == Code::Unauthorized {
                    self.attempts.failed(address);
                }
                return Err(NoLogin::Fault(fault));
            }
        };
        self.attempts.succeeded(address);
        let cookie = self.sessions.open_for(&person, mark.clone());
        Ok((cookie, Caller { name: person.name, role: person.role, via: Via::Cookie, login: None }))
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Who asks this, at a listener that knows its callers by `auth`.
    pub(super) async fn caller(
        &self,
        auth: Auth,
        method: &Method,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Caller, Fault> {
        let local = |name: &str, via| Caller { name: name.to_owned(), role: Role::Admin, via, login: None };
        match auth {
            // Whoever shows a token is known by it.
            Auth::Socket if !is_from_afar(headers, uri) && !self.takes_tokens(headers) => {
                Ok(local("socket", Via::Socket))
            }
            Auth::Loopback => local_only(headers, uri).map(|()| local("loopback", Via::Open)),
            Auth::Socket | Auth::Token => self.known(method, headers, uri).await,
        }
    }

    fn takes_tokens(&self, headers: &HeaderMap) -> bool {
        !self.keys.is_empty() && headers.contains_key(AUTHORIZATION)
    }

    /// Whoever has a token or a login.
    async fn known(&self, method: &Method, headers: &HeaderMap, uri: &Uri) -> Result<Caller, Fault> {
        if self.keys.is_empty() && self.oidc.is_none() {
            return Err(no_keys());
        }
        if headers.contains_key(AUTHORIZATION) {
            let Some(key) = bearer(headers, &self.keys) else {
                // Whoever guesses has few guesses; who mistyped waits a moment.
                tokio::time::sleep(WRONG_TOKEN).await;
                return Err(
                    Fault::new(Code::Unauthorized, "the token is not one of this server's").hint(HINT)
                );
            };
            return Ok(Caller::of(key, Via::Token));
        }
        let Some(cookie) = cookie_named(headers, self.cookie_name()) else {
            return Err(Fault::new(Code::Unauthorized, "this address needs a token").hint(HINT));
        };
        let provider = self.oidc.as_ref().map(|oidc| oidc.1.as_str());
        let Some((holder, login)) = self.sessions.find(cookie, &self.keys, provider) else {
            return Err(Fault::new(Code::Unauthorized, "the login has ended").hint("log in again"));
        };
        if needs_origin(method, headers) && is_own_page(headers, uri) != Some(true) {
            return Err(not_own_page());
        }
        Ok(Caller { name: holder.name, role: holder.role, via: Via::Cookie, login: Some(login) })
    }

    /// Logs in with a token: gives what the cookie says, and who it is.
    pub(super) async fn log_in(
        &self,
        token: &str,
        from: Source,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<(String, Caller), NoLogin> {
        // Or a foreign page could log people in as somebody else.
        if is_own_page(headers, uri) == Some(false) {
            return Err(NoLogin::Fault(not_own_page()));
        }
        if self.keys.is_empty() {
            return Err(NoLogin::Fault(no_keys()));
        }
        let address = from.address();
        if let Some(wait) = self.attempts.wait(address) {
            return Err(NoLogin::Wait(wait));
        }
        let Some(key) = matching(token, &self.keys) else {
            self.attempts.failed(address);
            tokio::time::sleep(WRONG_TOKEN).await;
            let fault = Fault::new(Code::Unauthorized, "the token is not one of this server's");
            return Err(NoLogin::Fault(fault.hint("the server's `api_tokens` say which there are")));
        };
        self.attempts.succeeded(address);
        Ok((self.sessions.open(key), Caller::of(key, Via::Cookie)))
    }

    /// Ends the login that a request came with.
    pub(in crate::server) fn log_out(&self, headers: &HeaderMap) {
        if let Some(cookie) = cookie_named(headers, self.cookie_name()) {
            self.sessions.close(cookie);
        }
    }

    /// Writes down for the next server who is logged in.
    pub(in crate::server) fn save(&self) {
        self.sessions.save();
    }
}

/// The key whose token was sent in the head.
fn bearer<'a>(headers: &HeaderMap, keys: &'a [Key]) -> Option<&'a Key> {
    let (scheme, sent) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    matching(sent, keys).filter(|_| scheme.eq_ignore_ascii_case("bearer"))
}

pub(super) fn no_provider() -> Fault {
    let why = "nobody logs in here by a provider";
    Fault::new(Code::NotFound, why).hint("api_oidc in the server's configuration names one")
}

fn no_keys() -> Fault {
    let why = "this came from a browser or by a proxy, and there is no token that anybody could log in with";
    Fault::new(Code::Forbidden, why).hint("set api_tokens or api_oidc in the server's configuration")
}

fn not_own_page() -> Fault {
    let why = "a request with a login must come from this server's own page, and its Origin is another one";
    Fault::new(Code::Forbidden, why).hint("a proxy in front must pass on `Host`, or set `X-Forwarded-Host`")
}

/// Local programs, and pages of this server in a local browser; no other page, and nothing that a proxy passes on.
fn local_only(headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
    let refuse = |what: &str| {
        Err(Fault::new(Code::Forbidden, format!("requests with this {what} are refused without a token"))
            .hint("set api_token_file to allow more than local programs"))
    };
    if !host(headers, uri).is_some_and(is_loopback_name) {
        return refuse("Host");
    }
    if is_own_page(headers, uri) == Some(false) {
        return refuse("Origin");
    }
    match passed_on(headers) {
        Some(name) => refuse(name),
        None => Ok(()),
    }
}
