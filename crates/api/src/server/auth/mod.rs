//! Who may ask. A Unix socket is guarded by its permissions; TCP needs a token, except on loopback, where foreign web pages in a local
//! browser are kept out instead. What a browser asks for by a proxy needs a login, wherever it comes in.
//!
//! ```text
//! request    what a head says about where it comes from
//! query      no tokens in addresses
//! gate       the caller of a request: by its listener, its token, or its login
//! sessions   logins, and the file that keeps them          attempts   wrong ones, by address
//! login      a login on its way in, and its cookie         lease      what goes on with one, and ends with it
//! people     by a provider of OpenID Connect
//! rights     which role a request needs                    audit      what was done, in the log
//! ```

mod attempts;
mod audit;
mod caller;
mod gate;
mod lease;
mod login;
mod people;
mod query;
mod request;
mod rights;
mod sessions;
mod token;

use axum::extract::{Extension, MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use self::audit::Deed;
pub(super) use self::caller::Caller;
pub use self::caller::{Key, Peer};
pub(super) use self::gate::{Gate, NoLogin};
pub(super) use self::login::{Attempt, go, no_cookie};
pub(super) use self::people::Answer;
pub use self::people::Oidc;
pub(super) use self::people::no_cookie as no_login_cookie;
pub use self::token::{Token, WeakToken};
use crate::{Code, Fault, Role};

/// How one listener knows its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// A Unix socket: whoever may open it may use it. What a proxy passes on to it needs a token or a login.
    Socket,
    /// Loopback TCP without a token: local programs and this server's own page, but no other web page (by `Origin`, and by `Host`
    /// against DNS rebinding).
    Loopback,
    /// A token or a login; `/healthz` and `/readyz` are open.
    Token,
}

/// The middleware: lets a request pass whose caller may ask it, and logs what changes something.
pub(super) async fn require(
    State((auth, gate)): State<(Auth, Gate)>,
    route: Option<MatchedPath>,
    peer: Option<Extension<Peer>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    if auth != Auth::Loopback && is_open(&method, uri.path()) {
        return Ok(next.run(request).await);
    }
    let needed = rights::needed(&method, route.as_ref().map_or(uri.path(), MatchedPath::as_str));
    let from = request::source(peer.map(|Extension(peer)| peer), request.headers());
    let changes = needed > Role::Viewer || !rights::reads(&method);
    let deed = |caller| changes.then(|| Deed::new(caller, &method, uri.path(), from));
    let caller = match gate.caller(auth, &method, request.headers(), &uri).await {
        Ok(caller) => caller,
        Err(fault) => {
            if let Some(deed) = deed(None) {
                deed.log(fault.code.status());
            }
            return Err(fault);
        }
    };
    let deed = deed(Some(&caller));
    let answer = match query::values(&uri, gate.keys()).and_then(|()| allowed(&caller, needed)) {
        Ok(()) => {
            let login = caller.login.clone();
            request.extensions_mut().insert(caller);
            let answer = next.run(request).await;
            if let Some(login) = login { login.over(answer) } else { answer }
        }
        Err(fault) => fault.into_response(),
    };
    if let Some(deed) = deed {
        deed.log(answer.status());
    }
    Ok(answer)
}

/// The middleware of what other hosts pass on: the caller is known already.
pub(super) async fn require_of_host(
    route: Option<MatchedPath>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let needed = rights::needed(&method, route.as_ref().map_or(uri.path(), MatchedPath::as_str));
    let changes = needed > Role::Viewer || !rights::reads(&method);
    let from = request::source(None, request.headers());
    let deed = changes.then(|| Deed::new(Some(&caller), &method, uri.path(), from));
    let answer = match allowed(&caller, needed) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    };
    if let Some(deed) = deed {
        deed.log(answer.status());
    }
    answer
}

fn allowed(caller: &Caller, needed: Role) -> Result<(), Fault> {
    if caller.role >= needed {
        return Ok(());
    }
    let Caller { name, role, .. } = caller;
    let why = format!("'{name}' has the role {role}, and this needs the role {needed}");
    Err(Fault::new(Code::Forbidden, why)
        .hint("use a token with that role; the server's api_tokens and api_oidc say who has which"))
}

/// The middleware of everything: no tokens in addresses, where they are kept in logs, whatever is asked.
pub(super) async fn no_tokens_in_addresses(request: Request, next: Next) -> Result<Response, Fault> {
    query::names(request.uri())?;
    Ok(next.run(request).await)
}

/// Whether a request needs no token: whether the server lives is for everybody to ask, and who logs in is not yet known.
pub(super) fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/healthz" | "/readyz" => true,
        "/api/v1/session" => *method == Method::POST,
        "/api/v1/session/ways" | "/api/v1/session/oidc" | "/api/v1/session/oidc/callback" => {
            *method == Method::GET
        }
        _ => false,
    }
}
