//! `/api/v1/live`: everything that a page shows, and each change in it as it happens.
//!
//! ```text
//! diff   what the engine has, without secrets, and what differs between two looks at it
//! hub    looks once for all clients, while there are any, and hands each of them the same bytes
//! ```

mod diff;
mod hub;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use crate::engine::Result;
use crate::{Fault, LiveSnapshot};

pub(super) use hub::Hub;

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(live))
}

/// The host, its pools, jobs and machines, live. First comes an event `snapshot` (`LiveSnapshot`), then `delta` (`LiveDelta`) for what
/// changed, at most every 100 ms, and `ping` (`LivePing`) every 15 seconds. Each `delta` has the revision after that of the event before;
/// a client that sees another one, or nothing for 40 seconds, connects anew. One that is too slow gets a new `snapshot`.
#[utoipa::path(get, path = "/api/v1/live", tag = "server",
    responses((status = 200, body = LiveSnapshot, content_type = "text/event-stream")))]
async fn live(State(context): State<Context>) -> Result<Response> {
    let messages = context.live.follow().await?.take_until(context.closing.clone().cancelled_owned());
    let messages = context.room.follow(messages)?.map(Ok::<_, std::convert::Infallible>);
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::from_stream(messages)).into_response())
}

/// An event as it goes over the wire, made once for everybody.
fn frame(name: &str, revision: u64, value: &impl Serialize) -> Result<Bytes> {
    let json = serde_json::to_string(value)
        .map_err(|error| Fault::internal(format!("the live view cannot be written: {error}")))?;
    Ok(Bytes::from(format!("event: {name}\nid: {revision}\ndata: {json}\n\n")))
}
