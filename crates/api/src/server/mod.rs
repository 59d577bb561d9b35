//! The router of `/api/v1`, `/healthz`, `/readyz`, `/metrics` and `/openapi.json`, and of the page beside them.

#![allow(unused_qualifications, reason = "utoipa's `path` macro writes them")]

mod answer;
pub mod auth;
mod caches;
mod deadline;
mod document;
mod events;
mod exec;
mod extract;
mod history;
mod host;
mod hosts;
mod images;
mod insight;
mod jobs;
mod kept;
mod live;
mod machines;
mod pools;
mod raw;
pub(crate) mod room;
mod session;
pub(crate) mod spec;
mod sse;
mod status;
pub(crate) mod upload;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fireactions_model::Event;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use self::hosts::HostDoor;
use crate::{Auth, Engine, Fault, Key, metrics::Metrics};

/// Bounds on what a request may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest JSON body and largest job specification, in bytes.
    pub body: usize,
    /// Largest sum of a job's input files, in bytes.
    pub upload: u64,
    /// Until the first byte of an answer.
    pub request: Duration,
    /// Until a job with input files is uploaded and queued.
    pub upload_deadline: Duration,
    /// Most connections of one listener at once. More than all of the three below, so that short requests always get in.
    pub connections: usize,
    /// Most `exec` sessions at once.
    pub sessions: usize,
    /// Most logs, consoles and events that are followed at once.
    pub followers: usize,
    /// Most uploads of jobs with files at once.
    pub uploads: usize,
    /// Most bytes of input files that are on their way in, of all uploads together. Not less than `upload`.
    pub spool: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            upload: 4 << 30,
            request: Duration::from_secs(30),
            upload_deadline: Duration::from_secs(1800),
            connections: 512,
            sessions: 64,
            followers: 256,
            uploads: 16,
            spool: 16 << 30,
        }
    }
}

/// What every handler has.
#[derive(Clone)]
struct Context {
    engine: Arc<dyn Engine>,
    metrics: Metrics,
    limits: Limits,
    pausing: CancellationToken,
    closing: CancellationToken,
    room: room::Room,
    live: live::Hub,
    gate: auth::Gate,
    history: history::History,
    doctor: insight::Doctor,
    hosts: Arc<OnceLock<Arc<dyn crate::Hosts>>>,
}

/// The API of one server; routers for its listeners are made from it.
#[derive(Clone)]
pub struct Api {
    context: Context,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "fireactions",
        description = "One job, one microVM: jobs, machines, pools and images of one server."
    ),
    components(schemas(
        Event,
        crate::LiveDelta,
        crate::LivePing,
        crate::LogChunk,
        crate::LogEnd,
        crate::PullEvent,
        crate::ErrorBody
    )),
    tags(
        (name = "jobs", description = "Jobs of the local queue"),
        (name = "machines", description = "MicroVMs"),
        (name = "host", description = "The host as a whole"),
        (name = "pools", description = "Pools of machines"),
        (name = "images", description = "Root images in the store"),
        (name = "caches", description = "The host's caches"),
        (name = "server", description = "The server itself")
    )
)]
struct Document;

impl Api {
    /// Begins to listen to the engine's events for the metrics. Needs a runtime.
    pub fn new(engine: Arc<dyn Engine>, limits: Limits) -> Self {
        let closing = CancellationToken::new();
        let metrics = Metrics::start(engine.as_ref(), closing.clone());
        let room = room::Room::new(&limits);
        let pausing = CancellationToken::new();
        let gate = auth::Gate::new(Vec::new(), None);
        let live = live::Hub::new(Arc::clone(&engine), limits.request, closing.clone());
        Self {
            context: Context {
                engine,
                metrics,
                limits,
                pausing,
                closing,
                room,
                live,
                gate,
                history: history::History::default(),
                doctor: insight::Doctor::default(),
                hosts: Arc::default(),
            },
        }
    }

    /// Serves metrics under the names of other programs of this name, too.
    #[must_use]
    pub fn with_compat_metrics(self) -> Self {
        self.context.metrics.serve_compat();
        self
    }

    /// Lets whoever has one of these tokens in, where the listener alone is not enough, and keeps logins in `sessions` for the next
    /// server, a file of its own.
    #[must_use]
    pub fn with_keys(mut self, keys: Vec<Key>, sessions: Option<PathBuf>) -> Self {
        self.context.gate = auth::Gate::new(keys, sessions);
        self
    }

    /// Lets people log in by this provider. After [`Api::with_keys`].
    #[must_use]
    pub fn with_oidc(mut self, oidc: crate::Oidc) -> Self {
        self.context.gate.with_oidc(oidc);
        self
    }

    /// Keeps a history of the last hours, in `file` for the next server. Needs a runtime.
    #[must_use]
    pub fn with_history(mut self, file: PathBuf) -> Self {
        let (engine, closing) = (Arc::clone(&self.context.engine), self.context.closing.clone());
        self.context.history = history::History::start(engine, file, closing);
        self
    }

    /// Passes on what is asked of the cluster's other hosts.
    #[must_use]
    pub fn with_hosts(self, hosts: Arc<dyn crate::Hosts>) -> Self {
        // Once: there is one cluster.
        if self.context.hosts.set(hosts).is_ok() {
            self.context.metrics.serve_fleet();
        }
        self
    }

    /// Takes no more connections: they wait for the next server of the same sockets. Those that are there are
    /// answered, and told to come by another connection the next time. To be called a moment before
    /// [`Api::close`], which ends them.
    pub fn pause(&self) {
        self.context.pausing.cancel();
    }

    /// Cancelled by [`Api::pause`].
    pub fn pausing(&self) -> &CancellationToken {
        &self.context.pausing
    }

    /// Ends followed streams and `exec` sessions and lets its listeners end.
    pub fn close(&self) {
        self.context.closing.cancel();
        self.context.gate.save();
    }

    /// Cancelled by [`Api::close`].
    pub fn closing(&self) -> &CancellationToken {
        &self.context.closing
    }

    /// What requests may cost.
    pub fn limits(&self) -> &Limits {
        &self.context.limits
    }

    fn bounds(&self) -> deadline::Bounds {
        let Context { limits, pausing, closing, .. } = &self.context;
        deadline::Bounds { limits: *limits, pausing: pausing.clone(), closing: closing.clone() }
    }

    /// The whole router for one listener.
    pub fn router(&self, auth: Auth) -> Router {
        let (api, _) = routes().split_for_parts();
        let bounds = self.bounds();
        api.route("/openapi.json", get(async || axum::Json(openapi())))
            // Before the layers, so that what does not exist is not told to strangers either.
            .fallback(no_route)
            .method_not_allowed_fallback(no_method)
            .with_state(self.context.clone())
            .layer(DefaultBodyLimit::max(bounds.limits.body))
            .layer(middleware::from_fn_with_state(bounds.clone(), deadline::enforce))
            .layer(middleware::from_fn_with_state((auth, self.context.gate.clone()), auth::require))
            .layer(middleware::map_response(as_declared))
            // Beside what needs a login, not behind it: it is the same for everybody, and where people log in.
            .merge(
                fireactions_page::router().layer(middleware::from_fn_with_state(bounds, deadline::enforce)),
            )
            .layer(middleware::from_fn(auth::no_tokens_in_addresses))
    }

    /// `/metrics`, `/healthz` and `/readyz` alone, for a listener without authentication.
    pub fn metrics_router(&self) -> Router {
        Router::new()
            .route("/metrics", get(status::metrics))
            .route("/healthz", get(status::healthz))
            .route("/readyz", get(status::readyz))
            .with_state(self.context.clone())
            .layer(middleware::from_fn_with_state(self.bounds(), deadline::enforce))
            .layer(middleware::map_response(as_declared))
            .fallback(no_route)
            .method_not_allowed_fallback(no_method)
    }
}

/// No browser takes an answer for what it does not say it is: a job's log may look like a page. And no proxy holds a stream back.
async fn as_declared(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if answer.body().size_hint().exact().is_none() {
        // nginx would collect what goes on and on until it has some kilobytes.
        answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    answer
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut openapi = routes().split_for_parts().1;
    document::complete(&mut openapi);
    openapi
}

fn routes() -> OpenApiRouter<Context> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(jobs::routes())
        .merge(machines::routes())
        .merge(host::routes())
        .merge(hosts::routes())
        .merge(pools::routes())
        .merge(images::routes())
        .merge(caches::routes())
        .merge(events::routes())
        .merge(live::routes())
        .merge(history::routes())
        .merge(insight::routes())
        .merge(session::routes())
        .merge(status::routes())
}

async fn no_route(uri: axum::http::Uri) -> Fault {
    Fault::not_found(format!("there is nothing at {}", uri.path()))
        .hint("the API is described at /openapi.json; client and server may be of different versions")
}

async fn no_method(method: axum::http::Method, uri: axum::http::Uri) -> Response {
    let fault = Fault::invalid(format!("{method} is not supported on {}", uri.path()))
        .hint("the API is described at /openapi.json");
    (StatusCode::METHOD_NOT_ALLOWED, fault).into_response()
}
