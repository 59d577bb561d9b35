//! `/api/v1/machines`.

use axum::extract::State;
use axum::response::Response;
use fireactions_model::{MachineId, MachineView};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Answer;
use super::extract::{Json, Path, Query};
use super::{Context, exec, raw};
use crate::engine::Result;
use crate::{ErrorBody, Fault, HoldRequest, MachineUsage};

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, remove))
        .routes(routes!(hold, unhold))
        .routes(routes!(console))
        .routes(routes!(usage))
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

/// Holds a machine once its job has ended, however it ends, to be looked into: for so long, then it goes. Repeating it replaces the time.
/// It is held across restarts of the server. A machine that is lost under its job cannot be held.
#[utoipa::path(put, path = "/api/v1/machines/{id}/hold", tag = "machines", params(("id" = MachineId, Path)),
    request_body = HoldRequest,
    responses((status = 200, body = MachineView), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
async fn hold(
    State(context): State<Context>,
    Path(id): Path<MachineId>,
    Json(to): Json<HoldRequest>,
) -> Result<Answer<MachineView>> {
    if let Some(problem) = to.problem() {
        return Err(Fault::invalid(problem));
    }
    context.engine.hold_machine(&id, Some(to.secs)).await.map(Answer)
}

/// Takes back that a machine is to be held once its job has ended. One that is held already is let go by removing it.
#[utoipa::path(delete, path = "/api/v1/machines/{id}/hold", tag = "machines", params(("id" = MachineId, Path)),
    responses((status = 200, body = MachineView), (status = 404, body = ErrorBody),
        (status = 409, body = ErrorBody)))]
async fn unhold(State(context): State<Context>, Path(id): Path<MachineId>) -> Result<Answer<MachineView>> {
    context.engine.hold_machine(&id, None).await.map(Answer)
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Usage {
    /// Of this one alone.
    #[param(value_type = Option<String>)]
    machine: Option<MachineId>,
}

/// What machines use now: memory and processor time. Machines without a VMM process are not in it. It is no part of the live view, which
/// would tell everybody of every machine all the time: ask as often as somebody looks. The host is looked at once a second at most.
#[utoipa::path(get, path = "/api/v1/usage", tag = "machines", params(Usage),
    responses((status = 200, body = Vec<MachineUsage>)))]
async fn usage(State(context): State<Context>, Query(of): Query<Usage>) -> Result<Answer<Vec<MachineUsage>>> {
    let mut all = context.engine.usage().await?;
    if let Some(machine) = of.machine {
        all.retain(|one| one.machine == machine);
    }
    Ok(Answer(all))
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
