//! No request waits for ever for its answer to begin, and none is left without one when the server goes.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use super::Limits;
use crate::{Code, Fault};

/// How long requests that run may go on when the server closes. Shorter than the listeners' own patience, so that
/// the answer is still sent.
const LAST_CALL: Duration = Duration::from_secs(4);

/// What the middleware needs.
#[derive(Clone)]
pub(super) struct Bounds {
    pub(super) limits: Limits,
    pub(super) pausing: CancellationToken,
    pub(super) closing: CancellationToken,
}

/// The middleware. It covers the handler, which for an upload includes reading the body; a streamed answer's
/// body is bounded by the stream's own end.
pub(super) async fn enforce(
    State(bounds): State<Bounds>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let upload = request.method() == Method::POST && request.uri().path() == "/api/v1/jobs";
    let limit = if upload { bounds.limits.upload_deadline } else { bounds.limits.request };
    let looks = request.method().is_safe();
    let answer = tokio::time::timeout(limit, next.run(request));
    let last_call = async {
        bounds.closing.cancelled().await;
        tokio::time::sleep(LAST_CALL).await;
    };
    let mut answer = tokio::select! {
        answer = answer => answer.map_err(|_| {
            Fault::new(Code::Timeout, format!("the server did not answer within {} s", limit.as_secs()))
                .hint("look at the server's log; `fireactions doctor` checks the host")
        })?,
        () = last_call => {
            let why = "the server is stopping or being replaced";
            return Err(if looks {
                Fault::unavailable(why).hint("send it again in a moment")
            } else {
                // What was handed on already goes on without us.
                Fault::unavailable(format!("{why}; the request may have been carried out or not"))
                    .hint("look in a moment whether it was (`fireactions jobs list`, `fireactions ps`), and send it again if not")
            });
        }
    };
    // Whoever asks again and again is to come by a new connection, which the next server takes, and not to meet the
    // end of this one.
    if bounds.pausing.is_cancelled() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}
