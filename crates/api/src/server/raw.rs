//! Bytes as they are: logs and consoles. What the server cuts never looks whole.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::engine::Result;

/// Sends `bytes` until they end. When the server closes before, or they end with a fault, the connection breaks in the
/// middle of the body, so that no program takes a half for the whole.
pub(super) fn answer(
    bytes: impl Stream<Item = Result<Bytes>> + Send + 'static,
    closing: &CancellationToken,
) -> Response {
    let start = Some((bytes.boxed(), closing.clone()));
    let body = stream::unfold(start, |state| async {
        let (mut bytes, closing) = state?;
        let next = match closing.run_until_cancelled(bytes.next()).await {
            Some(next) => next?,
            None => Err(Fault::unavailable("the server is stopping or being replaced")),
        };
        let state = next.is_ok().then_some((bytes, closing));
        Some((next, state))
    });
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response()
}
