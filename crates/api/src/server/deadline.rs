//! No request waits for ever for its answer to begin.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use super::Limits;
use crate::{Code, Fault};

/// The middleware. It covers the handler, which for an upload includes reading the body; a streamed answer's
/// body is bounded by the stream's own end.
pub(super) async fn enforce(
    State(limits): State<Limits>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let upload = request.method() == Method::POST && request.uri().path() == "/api/v1/jobs";
    let limit = if upload { limits.upload_deadline } else { limits.request };
    tokio::time::timeout(limit, next.run(request)).await.map_err(|_| {
        Fault::new(Code::Timeout, format!("the server had no answer within {} s", limit.as_secs()))
            .hint("look at the server's log; `fireactions doctor` checks the host")
    })
}
