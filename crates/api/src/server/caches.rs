//! `/api/v1/caches`.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use super::answer::Answer;
use super::extract::Json;
use crate::engine::Result;
use crate::{CacheEntryView, CacheGcReport, CacheGcRequest, CachesView};

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(entries))
        .routes(routes!(gc))
        .routes(routes!(gc_sticky))
}

/// The host's caches: of actions, of registries, and what sticky directories keep.
#[utoipa::path(get, path = "/api/v1/caches", tag = "caches", responses((status = 200, body = CachesView)))]
async fn show(State(context): State<Context>) -> Result<Answer<CachesView>> {
    context.engine.caches().await.map(Answer)
}

/// The entries of the cache of actions, those used last first.
#[utoipa::path(get, path = "/api/v1/caches/actions", tag = "caches",
    responses((status = 200, body = Vec<CacheEntryView>)))]
async fn entries(State(context): State<Context>) -> Result<Answer<Vec<CacheEntryView>>> {
    context.engine.cache_entries().await.map(Answer)
}

/// Removes entries of the cache of actions.
#[utoipa::path(post, path = "/api/v1/caches/actions/gc", tag = "caches", request_body = CacheGcRequest,
    responses((status = 200, body = CacheGcReport)))]
async fn gc(
    State(context): State<Context>,
    Json(request): Json<CacheGcRequest>,
) -> Result<Answer<CacheGcReport>> {
    context.engine.gc_cache(request).await.map(Answer)
}

/// Removes what sticky directories keep: their next jobs begin anew.
#[utoipa::path(post, path = "/api/v1/caches/sticky/gc", tag = "caches", request_body = CacheGcRequest,
    responses((status = 200, body = CacheGcReport)))]
async fn gc_sticky(
    State(context): State<Context>,
    Json(request): Json<CacheGcRequest>,
) -> Result<Answer<CacheGcReport>> {
    context.engine.gc_sticky(request).await.map(Answer)
}
