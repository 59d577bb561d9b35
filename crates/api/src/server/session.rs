//! `/api/v1/session`: who asks, and logins of people with a browser.

use std::time::Duration;

use axum::Extension;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use super::auth::{self, Caller, NoLogin, Peer};
use super::extract::Json;
use crate::engine::Result;
use crate::{Code, ErrorBody, Fault, Login, Session};

/// Whoever logs in is not known yet, so little is taken: a token has 512 characters.
const MOST_BYTES: usize = 4096;
const BODY_DEADLINE: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(show, log_in, log_out)).layer(DefaultBodyLimit::max(MOST_BYTES))
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

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "server",
    responses((status = 204, description = "Logged out")))]
async fn log_out(State(context): State<Context>, headers: HeaderMap) -> Result<Response> {
    context.gate.log_out(&headers);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, auth::no_cookie())]).into_response())
}
