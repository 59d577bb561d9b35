//! `/api/v1/events`: everything that happens, as it happens.

use axum::extract::State;
use axum::response::Response;
use fireactions_model::Event;
use futures::StreamExt;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Context, sse};
use crate::engine::Result;

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Everything that happens from now on: events `event`. A listener that is too slow gets `missed` with the number of
/// events that it lost; each event carries the complete new state, so the listener is up to date again with the next
/// one. What a queued job waits for is as it was known at the event; ask for the job to get the current value.
#[utoipa::path(get, path = "/api/v1/events", tag = "server",
    responses((status = 200, body = Event, content_type = "text/event-stream")))]
async fn events(State(context): State<Context>) -> Result<Response> {
    let engine = context.engine.clone();
    let events = BroadcastStream::new(engine.events()).map(move |event| match event {
        Ok(mut event) => {
            if let Event::Job { job } = &mut event {
                engine.explain(job);
            }
            sse::event("event", &event)
        }
        Err(BroadcastStreamRecvError::Lagged(missed)) => sse::event("missed", &missed),
    });
    let events = events.take_until(context.closing.clone().cancelled_owned());
    Ok(sse::answer(context.room.follow(events)?))
}
