//! `/api/v1/session`: who asks, and logins of people with a browser.

use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use super::auth::{self, Caller, NoLogin, Peer};
use super::extract::Json;
use crate::engine::Result;
use crate::{Code, ErrorBody, Fault, Login, LoginWays, Session};

/// Whoever logs in is not known yet, so little is taken: a token has 512 characters.
const MOST_BYTES: usize = 4096;
const BODY_DEADLINE: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(show, log_in, log_out))
        .routes(routes!(ways))
        .routes(routes!(go_to_provider))
        .routes(routes!(come_back))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
}

/// Who asks, and what they may do.
#[utoipa::path(get, path = "/api/v1/session", tag = "server", responses((status = 200, body = Session)))]
async fn show(Extension(caller): Extension<Caller>) -> axum::Json<Session> {
    axum::Json(caller.session())
}

/// Logs in with a token. The cookie of the answer stands for it until it was not used for 12 hours, its token is removed or changes its
/// role, or somebody logs out. Requests with the cookie that change something, and WebSockets, need an `Origin` that is this server.
#[utoipa::path(post, path = "/api/v1/session", tag = "server", request_body = Login,
    responses((status = 204, description = "Logged in: `Set-Cookie`"),
        (status = 401, body = ErrorBody, description = "The token is not one of this server's"),
        (status = 429, body = ErrorBody, description = "Too many wrong tokens came from this address: `Retry-After`")))]
async fn log_in(State(context): State<Context>, peer: Option<Extension<Peer>>, request: Request) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let login = match tokio::time::timeout(BODY_DEADLINE, Json::<Login>::from_request(request, &())).await {
        Ok(Ok(Json(login))) => login,
        Ok(Err(fault)) => return fault.into_response(),
        Err(_) => {
            let why = format!("the token did not come within {BODY_DEADLINE:?}");
            return Fault::new(Code::Timeout, why).into_response();
        }
    };
    let attempt = auth::Attempt::new(peer.map(|Extension(peer)| peer), &headers, &uri);
    match attempt.log_in(&context.gate, &login.token).await {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        Err(NoLogin::Fault(fault)) => fault.into_response(),
        Err(NoLogin::Wait(wait)) => {
            let seconds = wait.as_secs() + 1;
            let why = format!("too many wrong tokens came from this address; wait {seconds} s");
            let fault = Fault::new(Code::TooMany, why).hint("the server's `api_tokens` say which there are");
            ([(header::RETRY_AFTER, HeaderValue::from(seconds))], fault).into_response()
        }
    }
}

/// How people log in here. It needs no login.
#[utoipa::path(get, path = "/api/v1/session/ways", tag = "server", responses((status = 200, body = LoginWays)))]
async fn ways(State(context): State<Context>) -> axum::Json<LoginWays> {
    let oidc = context.gate.oidc().map(|oidc| oidc.name.clone());
    axum::Json(LoginWays { token: context.gate.has_keys(), oidc })
}

/// Sends a browser to the provider of OpenID Connect, to log in there.
#[utoipa::path(get, path = "/api/v1/session/oidc", tag = "server",
    responses((status = 303, description = "To the provider: `Location`"),
        (status = 404, body = String, content_type = "text/plain", description = "There is no provider"),
        (status = 503, body = String, content_type = "text/plain", description = "The provider cannot be reached")))]
async fn go_to_provider(State(context): State<Context>, headers: HeaderMap) -> Response {
    match auth::go(&context.gate, &headers).await {
        Ok((url, cookie)) => onward(url.as_str(), &[cookie]),
        Err(fault) => words(&fault),
    }
}

/// Where the provider sends a browser back to. It is sent on to the page, with a login as `POST /api/v1/session` gives it; one that
/// ends after 12 hours.
#[utoipa::path(get, path = "/api/v1/session/oidc/callback", tag = "server",
    responses((status = 303, description = "Logged in, to the page: `Set-Cookie`, `Location`"),
        (status = 401, body = String, content_type = "text/plain", description = "It is not the end of a login"),
        (status = 403, body = String, content_type = "text/plain", description = "None of the groups may use this server"),
        (status = 404, body = String, content_type = "text/plain", description = "There is no provider"),
        (status = 429, body = String, content_type = "text/plain", description = "Too many failed from this address"),
        (status = 503, body = String, content_type = "text/plain", description = "The provider cannot be reached")))]
async fn come_back(
    State(context): State<Context>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    uri: Uri,
    answer: std::result::Result<Query<auth::Answer>, QueryRejection>,
) -> Response {
    let answer = answer.map(|Query(answer)| answer).unwrap_or_default();
    let attempt = auth::Attempt::new(peer.map(|Extension(peer)| peer), &headers, &uri);
    match attempt.come_back(&context.gate, &answer).await {
        Ok(cookie) => {
            let page = context.gate.oidc().map_or("/", |oidc| oidc.page.as_str());
            onward(page, &[cookie, auth::no_login_cookie()])
        }
        Err(NoLogin::Fault(fault)) => words(&fault),
        Err(NoLogin::Wait(wait)) => {
            let seconds = wait.as_secs() + 1;
            let why = format!("too many logins from this address came to nothing; wait {seconds} s");
            let mut answer = words(&Fault::new(Code::TooMany, why));
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            answer
        }
    }
}

/// To another page, whose address is no other server's to know.
fn onward(to: &str, cookies: &[HeaderValue]) -> Response {
    let mut answer = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie.clone());
    }
    answer
}

/// A fault for a person whose browser was sent here.
fn words(fault: &Fault) -> Response {
    let hint = fault.hint.as_deref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    (fault.code.status(), kind, format!("{}{hint}\n", fault.message)).into_response()
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "server",
    responses((status = 204, description = "Logged out")))]
async fn log_out(State(context): State<Context>, headers: HeaderMap) -> Result<Response> {
    context.gate.log_out(&headers);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, auth::no_cookie(&context.gate))]).into_response())
}
