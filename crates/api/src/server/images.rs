//! `/api/v1/images`.

use axum::extract::State;
use axum::response::Response;
use futures::{StreamExt, TryStreamExt, future, stream};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Answer;
use super::extract::{Json, Query};
use super::{Context, sse};
use crate::engine::Result;
use crate::{ErrorBody, Fault, GcReport, GcRequest, ImageView, PullEvent, PullRequest, Removed};

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(list, remove)).routes(routes!(pull)).routes(routes!(gc))
}

/// Images in the store.
#[utoipa::path(get, path = "/api/v1/images", tag = "images", responses((status = 200, body = Vec<ImageView>)))]
async fn list(State(context): State<Context>) -> Result<Answer<Vec<ImageView>>> {
    context.engine.images().await.map(Answer)
}

/// Pulls an image and reports its progress: events `progress`, then the end of the stream, or `error`.
#[utoipa::path(post, path = "/api/v1/images/pull", tag = "images", request_body = PullRequest,
    responses((status = 200, body = PullEvent, content_type = "text/event-stream")))]
async fn pull(State(context): State<Context>, Json(request): Json<PullRequest>) -> Result<Response> {
    let progress = context.engine.pull_image(request.image, request.policy).await?;
    let events = progress.map_ok(|step| sse::event("progress", &step));
    // Whoever waits for the image must not take the server's end for the pull's.
    let closing = context.closing.clone();
    let events = events.take_until(closing.clone().cancelled_owned());
    let cut =
        stream::once(async move { closing.is_cancelled() }).filter(|cut| future::ready(*cut)).map(|_| {
            Err(Fault::unavailable(
                "the server is stopping or being replaced, and the image is not there yet",
            )
            .hint("pull it again; what was fetched is kept"))
        });
    let events = sse::until_fault(events.chain(cut), future::ready(None));
    Ok(sse::answer(context.room.follow(events)?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Name or digest prefix.
    image: String,
}

/// Removes an image that nothing uses.
#[utoipa::path(delete, path = "/api/v1/images", tag = "images", params(Which),
    responses((status = 200, body = Removed), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn remove(State(context): State<Context>, Query(which): Query<Which>) -> Result<Answer<Removed>> {
    let removed = context.engine.remove_image(&which.image).await?;
    Ok(Answer(Removed { removed }))
}

/// Removes images that nothing uses, by size and by age.
#[utoipa::path(post, path = "/api/v1/images/gc", tag = "images", request_body = GcRequest,
    responses((status = 200, body = GcReport)))]
async fn gc(State(context): State<Context>, Json(request): Json<GcRequest>) -> Result<Answer<GcReport>> {
    context.engine.gc_images(request).await.map(Answer)
}
