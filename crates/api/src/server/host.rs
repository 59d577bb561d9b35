//! `/api/v1/host`.

use axum::extract::State;
use fireactions_model::HostView;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use super::answer::Answer;
use super::extract::Json;
use crate::engine::Result;
use crate::{DrainRequest, Fault};

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(show, change))
}

/// Whether the host is drained, and its machines by state.
#[utoipa::path(get, path = "/api/v1/host", tag = "host", responses((status = 200, body = HostView)))]
async fn show(State(context): State<Context>) -> Result<Answer<HostView>> {
    context.engine.host().await.map(Answer)
}

/// Drains the host, or lets it take work again. Repeating a drain changes only the reason: a drained host keeps its
/// time.
#[utoipa::path(put, path = "/api/v1/host", tag = "host", request_body = DrainRequest,
    responses((status = 200, body = HostView)))]
async fn change(State(context): State<Context>, Json(to): Json<DrainRequest>) -> Result<Answer<HostView>> {
    if let Some(problem) = to.problem() {
        return Err(Fault::invalid(problem));
    }
    context.engine.drain_host(to).await.map(Answer)
}
