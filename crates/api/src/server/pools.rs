//! `/api/v1/pools`.

use axum::extract::State;
use fireactions_model::{PoolName, PoolView};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use super::answer::Answer;
use super::extract::{Json, Path};
use crate::engine::Result;
use crate::{ErrorBody, Fault, ScaleRequest};

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(scale, reset_scale))
}

/// Every pool.
#[utoipa::path(get, path = "/api/v1/pools", tag = "pools", responses((status = 200, body = Vec<PoolView>)))]
async fn list(State(context): State<Context>) -> Result<Answer<Vec<PoolView>>> {
    context.engine.pools().await.map(Answer)
}

/// One pool.
#[utoipa::path(get, path = "/api/v1/pools/{name}", tag = "pools", params(("name" = PoolName, Path)),
    responses((status = 200, body = PoolView), (status = 404, body = ErrorBody)))]
async fn show(State(context): State<Context>, Path(name): Path<PoolName>) -> Result<Answer<PoolView>> {
    context.engine.pool(&name).await.map(Answer)
}

/// Pauses a pool: it makes no more machines; running jobs continue.
#[utoipa::path(post, path = "/api/v1/pools/{name}/pause", tag = "pools", params(("name" = PoolName, Path)),
    responses((status = 200, body = PoolView), (status = 404, body = ErrorBody)))]
async fn pause(State(context): State<Context>, Path(name): Path<PoolName>) -> Result<Answer<PoolView>> {
    context.engine.pause_pool(&name, true).await.map(Answer)
}

/// Lets a paused pool make machines again.
#[utoipa::path(post, path = "/api/v1/pools/{name}/resume", tag = "pools", params(("name" = PoolName, Path)),
    responses((status = 200, body = PoolView), (status = 404, body = ErrorBody)))]
async fn resume(State(context): State<Context>, Path(name): Path<PoolName>) -> Result<Answer<PoolView>> {
    context.engine.pause_pool(&name, false).await.map(Answer)
}

/// Changes a pool's bounds until the next change.
#[utoipa::path(put, path = "/api/v1/pools/{name}/scale", tag = "pools", params(("name" = PoolName, Path)),
    request_body = ScaleRequest,
    responses((status = 200, body = PoolView), (status = 404, body = ErrorBody)))]
async fn scale(
    State(context): State<Context>,
    Path(name): Path<PoolName>,
    Json(to): Json<ScaleRequest>,
) -> Result<Answer<PoolView>> {
    if to.min.is_none() && to.max.is_none() {
        return Err(Fault::invalid("neither min nor max is given").hint("give at least one of them"));
    }
    if let (Some(min), Some(max)) = (to.min, to.max)
        && min > max
    {
        return Err(Fault::invalid(format!("min {min} is greater than max {max}")));
    }
    context.engine.scale_pool(&name, to).await.map(Answer)
}

/// Restores a pool's configured bounds.
#[utoipa::path(delete, path = "/api/v1/pools/{name}/scale", tag = "pools", params(("name" = PoolName, Path)),
    responses((status = 200, body = PoolView), (status = 404, body = ErrorBody)))]
async fn reset_scale(State(context): State<Context>, Path(name): Path<PoolName>) -> Result<Answer<PoolView>> {
    context.engine.reset_scale(&name).await.map(Answer)
}
