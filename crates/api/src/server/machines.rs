//! `/api/v1/machines`.

use axum::extract::State;
use axum::response::Response;
use fireactions_model::{MachineId, MachineView};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Answer;
use super::extract::{Path, Query};
use super::{Context, exec, raw};
use crate::ErrorBody;
use crate::engine::Result;

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, remove))
        .routes(routes!(console))
        .merge(exec::routes())
}

/// Every machine.
#[utoipa::path(get, path = "/api/v1/machines", tag = "machines",
    responses((status = 200, body = Vec<MachineView>)))]
async fn list(State(context): State<Context>) -> Result<Answer<Vec<MachineView>>> {
    context.engine.machines().await.map(Answer)
}

/// One machine.
#[utoipa::path(get, path = "/api/v1/machines/{id}", tag = "machines", params(("id" = MachineId, Path)),
    responses((status = 200, body = MachineView), (status = 404, body = ErrorBody)))]
async fn show(State(context): State<Context>, Path(id): Path<MachineId>) -> Result<Answer<MachineView>> {
    context.engine.machine(&id).await.map(Answer)
}

/// Removes an idle or held machine at once. A machine that has a job is not touched.
#[utoipa::path(delete, path = "/api/v1/machines/{id}", tag = "machines", params(("id" = MachineId, Path)),
    responses((status = 200, body = MachineView), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
async fn remove(State(context): State<Context>, Path(id): Path<MachineId>) -> Result<Answer<MachineView>> {
    context.engine.remove_machine(&id).await.map(Answer)
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Console {
    /// Only the last lines; by default everything that was kept.
    tail: Option<u64>,
    /// Follow until the machine is removed.
    follow: bool,
}

/// A machine's console, raw: whatever the guest wrote, control characters included. A connection that breaks means that
/// the server closed it.
#[utoipa::path(get, path = "/api/v1/machines/{id}/console", tag = "machines",
    params(("id" = MachineId, Path), Console),
    responses((status = 200, body = String, content_type = "application/octet-stream"),
        (status = 404, body = ErrorBody)))]
async fn console(
    State(context): State<Context>,
    Path(id): Path<MachineId>,
    Query(what): Query<Console>,
) -> Result<Response> {
    let lines = context.engine.console(&id, what.tail, what.follow).await?;
    Ok(raw::answer(context.room.follow(lines)?, &context.closing))
}
