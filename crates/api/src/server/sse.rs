//! Server-sent events: one JSON value an event, `error` as the last one when the stream breaks.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::Fault;
use crate::fault::ErrorBodyRef;

/// An event named `name` that carries `value`.
pub(super) fn event(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).json_data(value).unwrap_or_else(|error| {
        Event::default()
            .event("error")
            .data(format!("{{\"error\":{{\"code\":\"internal\",\"message\":\"{name}: {error}\"}}}}"))
    })
}

/// The event for a fault.
pub(super) fn fault(fault: &Fault) -> Event {
    event("error", &ErrorBodyRef { error: fault })
}

/// Sends `events` until they end or the server closes.
pub(super) fn answer(
    events: impl Stream<Item = Event> + Send + 'static,
    closing: &CancellationToken,
) -> Response {
    let events = events.take_until(closing.clone().cancelled_owned()).map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}
