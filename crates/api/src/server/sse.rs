//! Server-sent events: one JSON value an event, `error` as the last one when the stream breaks.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;

use crate::Fault;
use crate::engine::Result;
use crate::fault::ErrorBodyRef;

/// An event named `name` that carries `value`.
pub(super) fn event(name: &str, value: &impl Serialize) -> Event {
    Event::default().event(name).json_data(value).unwrap_or_else(|error| {
        Event::default()
            .event("error")
            .data(format!("{{\"error\":{{\"code\":\"internal\",\"message\":\"{name}: {error}\"}}}}"))
    })
}

/// `events`, and after them the event of `end`; or `error` as the last one when they break, and nothing after it.
pub(super) fn until_fault(
    events: impl Stream<Item = Result<Event>> + Send + 'static,
    end: impl Future<Output = Option<Result<Event>>> + Send + 'static,
) -> impl Stream<Item = Event> + Send + 'static {
    stream::unfold(Some((events.boxed(), end)), |state| async {
        let (mut events, end) = state?;
        let (event, rest) = match events.next().await {
            Some(event) => (event, Some((events, end))),
            None => (end.await?, None),
        };
        match event {
            Ok(event) => Some((event, rest)),
            Err(broken) => Some((fault(&broken), None)),
        }
    })
}

/// The event for a fault.
fn fault(fault: &Fault) -> Event {
    event("error", &ErrorBodyRef { error: fault })
}

/// Sends `events` until they end.
pub(super) fn answer(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(Ok::<_, Infallible>);
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}
