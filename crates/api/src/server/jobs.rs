//! `/api/v1/jobs`.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fireactions_model::{JobId, JobRecord, JobSpec, Stream};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Answer, shown};
use super::extract::{Path, Query};
use super::{Context, raw, sse, upload};
use crate::engine::Result;
use crate::{ErrorBody, JobFilter, LogChunk, LogEnd};

const LIST_DEFAULT: u32 = 100;
const LIST_MAX: u32 = 1000;

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(list, submit))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(log))
        .routes(routes!(log_events))
        .routes(routes!(artifact))
        .routes(routes!(service_log))
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobFilter),
    responses((status = 200, body = Vec<JobRecord>)))]
async fn list(
    State(context): State<Context>,
    Query(mut filter): Query<JobFilter>,
) -> Result<Answer<Vec<JobRecord>>> {
    filter.limit = Some(filter.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX));
    context.engine.jobs(filter).await.map(Answer)
}

/// Queues a job: its specification as JSON, or, with input files, `application/vnd.fireactions.job`: the specification
/// as one line of JSON, then the bytes of its `files`, in their order.
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs",
    request_body(content((JobSpec = "application/json"), (String = "application/vnd.fireactions.job"))),
    responses((status = 201, body = JobRecord)))]
async fn submit(State(context): State<Context>, request: Request) -> Result<(StatusCode, Answer<JobRecord>)> {
    let dir = context.engine.upload_dir();
    let receive = upload::receive(request, &context.limits, &context.room, &dir);
    let upload::Received { spec, files, spooling } = receive.await?;
    let job = context.engine.submit(spec, files).await?;
    // Until here its files were on their way in.
    drop(spooling);
    Ok((StatusCode::CREATED, Answer(job)))
}

/// One job.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = JobRecord), (status = 404, body = ErrorBody)))]
async fn show(State(context): State<Context>, Path(id): Path<JobId>) -> Result<Answer<JobRecord>> {
    context.engine.job(&id).await.map(Answer)
}

/// Cancels a job; for a final job it does nothing.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = JobRecord), (status = 404, body = ErrorBody)))]
async fn cancel(State(context): State<Context>, Path(id): Path<JobId>) -> Result<Answer<JobRecord>> {
    context.engine.cancel(&id).await.map(Answer)
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct Log {
    /// Only this output.
    stream: Option<Stream>,
    /// Follow until the job is final.
    follow: bool,
}

/// A job's output, raw. With `follow` it ends when the job is final; a connection that breaks means that the server
/// closed it, and that there is more.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log", tag = "jobs", params(("id" = JobId, Path), Log),
    responses((status = 200, body = String, content_type = "application/octet-stream"),
        (status = 404, body = ErrorBody)))]
async fn log(
    State(context): State<Context>,
    Path(id): Path<JobId>,
    Query(what): Query<Log>,
) -> Result<Response> {
    let chunks = context.engine.job_log(&id, 0, what.follow).await?;
    let wanted = chunks.try_filter_map(move |chunk| async move {
        Ok(what.stream.is_none_or(|stream| stream == chunk.stream).then_some(chunk.data))
    });
    Ok(raw::answer(context.room.follow(wanted)?, &context.closing))
}

#[derive(Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct LogEvents {
    /// Position to start at: 0, or a chunk's `next`. The header `Last-Event-ID` takes precedence.
    from: u64,
    /// Follow until the job is final.
    follow: bool,
}

/// A job's output as events: `output` for each piece (its id is the position to continue at), then `end` with the job's
/// current state, or `error`.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/log/events", tag = "jobs", params(("id" = JobId, Path), LogEvents),
    responses((status = 200, body = LogChunk, content_type = "text/event-stream"),
        (status = 404, body = ErrorBody)))]
async fn log_events(
    State(context): State<Context>,
    Path(id): Path<JobId>,
    Query(what): Query<LogEvents>,
    headers: HeaderMap,
) -> Result<Response> {
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let chunks = context.engine.job_log(&id, resumed.unwrap_or(what.from), what.follow).await?;
    let output = chunks.map_ok(|chunk| sse::event("output", &chunk).id(chunk.next.to_string()));
    let engine = context.engine.clone();
    let end = async move {
        Some(engine.job(&id).await.map(|job| sse::event("end", &shown(LogEnd { job: Box::new(job) }))))
    };
    let events = sse::until_fault(output, end).take_until(context.closing.clone().cancelled_owned());
    Ok(sse::answer(context.room.follow(events)?))
}

/// One of the job's artifacts, as a tar archive.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/artifacts/{index}", tag = "jobs",
    params(("id" = JobId, Path), ("index" = usize, Path, description = "Position in the specification, from 0")),
    responses((status = 200, body = String, content_type = "application/x-tar"), (status = 404, body = ErrorBody)))]
async fn artifact(
    State(context): State<Context>,
    Path((id, index)): Path<(JobId, usize)>,
) -> Result<Response> {
    let file = context.engine.artifact(&id, index).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_LENGTH, file.size.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}-{index}.tar\"")),
    ];
    Ok((headers, Body::from_stream(ReaderStream::with_capacity(file.reader, 64 * 1024))).into_response())
}

/// The end of what one of the pool's services (`runner.services`) has written: at most 1 MiB. Of a job that runs, until now; of
/// one that has ended, until its end.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/services/{service}/log", tag = "jobs",
    params(("id" = JobId, Path), ("service" = String, Path, description = "The service's name")),
    responses((status = 200, body = String, content_type = "application/octet-stream"),
        (status = 404, body = ErrorBody)))]
async fn service_log(
    State(context): State<Context>,
    Path((id, service)): Path<(JobId, String)>,
) -> Result<Response> {
    let log = context.engine.service_log(&id, &service).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], log).into_response())
}
