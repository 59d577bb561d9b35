//! `/api/v1/hosts`: the cluster's hosts, and what each of them would answer. What a caller may do is known at the host that it asks;
//! whether that is enough, the other one decides.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::Answer;
use super::auth::{self, Caller};
use super::{Api, Context};
use crate::engine::Result;
use crate::{Code, Fault, HostAnswer, HostEntry, HostRequest};

/// Most bytes of what another host is asked, and of its answer: NATS takes a mebibyte in one message.
const MAX_QUESTION: usize = 256 << 10;
const MAX_ANSWER: usize = 850 << 10;

pub(super) fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::new().routes(routes!(list)).route("/api/v1/hosts/{host}/{*rest}", any(ask))
}

/// The hosts of the cluster; of a host without one, none. Below `/api/v1/hosts/HOST/` is what that host has below `/api/v1/`, but for
/// what is followed, uploads, `exec` and the configuration.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "host", responses((status = 200, body = Vec<HostEntry>)))]
async fn list(State(context): State<Context>) -> Answer<Vec<HostEntry>> {
    Answer(context.hosts.get().map(|hosts| hosts.list()).unwrap_or_default())
}

async fn ask(
    State(context): State<Context>,
    Path((host, rest)): Path<(String, String)>,
    Extension(caller): Extension<Caller>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Result<Response> {
    let Some(hosts) = context.hosts.get() else {
        return Err(Fault::not_found("this host belongs to no cluster")
            .hint("the section 'cluster:' of the configuration puts it into one; see docs/cluster.md"));
    };
    if body.len() > MAX_QUESTION {
        return Err(Fault::new(Code::TooLarge, format!("more than {MAX_QUESTION} bytes for another host"))
            .hint("ask that host itself"));
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let request = HostRequest {
        method: method.to_string(),
        path: format!("/api/v1/{rest}{query}"),
        body: Some(String::from_utf8_lossy(&body).into_owned()).filter(|body| !body.is_empty()),
        caller: caller.name().to_owned(),
        role: caller.role(),
    };
    let HostAnswer { status, body, content_type } = hosts.ask(&host, request).await?;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let content_type =
        HeaderValue::from_str(&content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    Ok((status, [(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// Answers what callers of other hosts ask.
#[derive(Clone)]
pub struct HostDoor {
    router: Router,
}

impl Api {
    /// Answers callers of other hosts. What they ask for must be whole and short.
    pub fn host_door(&self) -> HostDoor {
        let (api, _) = super::routes().split_for_parts();
        let router = api
            .fallback(super::no_route)
            .method_not_allowed_fallback(super::no_method)
            .with_state(self.context.clone())
            .layer(middleware::from_fn_with_state(self.bounds(), super::deadline::enforce))
            .layer(middleware::from_fn(auth::require_of_host));
        HostDoor { router }
    }
}

impl HostDoor {
    /// `from` is the host that passes it on.
    pub async fn answer(&self, from: &str, request: HostRequest) -> HostAnswer {
        let answer = match self.asked(from, request).await {
            Ok(answer) => answer,
            Err(fault) => fault.into_response(),
        };
        whole(answer).await
    }

    async fn asked(&self, from: &str, request: HostRequest) -> Result<Response> {
        let path = request.path.split('?').next().unwrap_or_default();
        if let Some(why) = refused(path) {
            return Err(Fault::invalid(format!("{path} cannot be asked of another host: {why}"))
                .hint("ask that host's own server"));
        }
        let caller = Caller::of_host(&request.caller, from, request.role);
        let built = Request::builder()
            .method(request.method.as_str())
            .uri(&request.path)
            .header(header::CONTENT_TYPE, "application/json")
            .extension(caller)
            .body(Body::from(request.body.unwrap_or_default()));
        let built =
            built.map_err(|error| Fault::invalid(format!("a request that cannot be read: {error}")))?;
        self.router.clone().oneshot(built).await.map_err(|never| match never {})
    }
}

/// Why a path is for the host's own callers alone.
fn refused(path: &str) -> Option<&'static str> {
    let Some(rest) = path.strip_prefix("/api/v1/") else { return Some("it is not below /api/v1/") };
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        ["hosts", ..] => Some("one host asks another, and no third one"),
        ["session", ..] => Some("logins are a host's own"),
        ["config", ..] => Some("a configuration is a host's own"),
        ["events" | "live", ..] | ["machines", _, "exec" | "console"] => Some("it goes on and on"),
        _ => None,
    }
}

/// An answer that is whole. One that is too long is an error.
async fn whole(answer: Response) -> HostAnswer {
    let (parts, body) = answer.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("text/plain").to_owned();
    if content_type.starts_with("text/event-stream") {
        return fault(
            &Fault::invalid("what is followed cannot be asked of another host")
                .hint("ask that host's own server"),
        );
    }
    match to_bytes(body, MAX_ANSWER).await {
        Ok(body) => HostAnswer {
            status: parts.status.as_u16(),
            body: String::from_utf8_lossy(&body).into_owned(),
            content_type,
        },
        Err(_) => fault(
            &Fault::new(Code::TooLarge, "the answer is too long to come from another host")
                .hint("ask for less (--limit), or ask that host itself"),
        ),
    }
}

fn fault(fault: &Fault) -> HostAnswer {
    let body = crate::ErrorBody { error: fault.clone() };
    HostAnswer {
        status: fault.code.status().as_u16(),
        body: serde_json::to_string(&body).unwrap_or_default(),
        content_type: "application/json".to_owned(),
    }
}
