//! Health, readiness, version and metrics.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Context;
use crate::{Fault, Readiness, Version};

const OPENMETRICS: &str = "application/openmetrics-text";

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(version))
        .routes(routes!(metrics))
}

/// The server answers: `ok`, or `{"status":"OK"}` to who accepts JSON and not any type.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, body = String)))]
pub(super) async fn healthz(headers: HeaderMap) -> Response {
    if asks_for(&headers, "application/json") {
        return Json(serde_json::json!({"status": "OK"})).into_response();
    }
    "ok\n".into_response()
}

/// Whether this kind of answer is asked for by its name.
fn asks_for(headers: &HeaderMap, kind: &str) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds =
        accepted.flat_map(|value| value.split(',')).map(|kind| kind.split(';').next().unwrap_or(kind));
    kinds.any(|one| one.trim().eq_ignore_ascii_case(kind))
}

/// Whether jobs are accepted and can run.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(super) async fn readyz(State(context): State<Context>) -> Response {
    let readiness = context.engine.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

/// What runs.
#[utoipa::path(get, path = "/api/v1/version", tag = "server", responses((status = 200, body = Version)))]
async fn version(State(context): State<Context>) -> Json<Version> {
    Json(context.engine.version())
}

/// Prometheus metrics, with exemplars for who asks for `application/openmetrics-text`.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(context): State<Context>, headers: HeaderMap) -> Result<Response, Fault> {
    let exemplars = asks_for(&headers, OPENMETRICS);
    let text = context.metrics.render(context.engine.as_ref(), context.hosts.get(), exemplars).await?;
    let kind = format!("{OPENMETRICS}; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
