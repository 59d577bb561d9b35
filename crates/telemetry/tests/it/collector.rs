//! A collector in memory: OTLP by gRPC and by HTTP at one port, with the published types and gRPC's own library.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use axum::routing::post;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Request, Response, Status};

/// What it answers.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    /// All is well.
    Take,
    /// All but so many spans.
    Partly(i64),
    /// Not now: 503, or `UNAVAILABLE`.
    Busy,
    /// Too many: 429 with `Retry-After`.
    TooMany(u64),
    /// Never: 400, or `INVALID_ARGUMENT`.
    Wrong,
    /// Nothing at all.
    Silence,
}

#[derive(Default)]
struct State {
    /// For the next requests; then it takes everything.
    replies: Mutex<VecDeque<Reply>>,
    taken: Mutex<Vec<ExportTraceServiceRequest>>,
    headers: Mutex<Vec<HeaderMap>>,
}

impl State {
    async fn answer(&self, headers: HeaderMap, request: ExportTraceServiceRequest) -> Reply {
        self.headers.lock().unwrap().push(headers);
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or(Reply::Take);
        match reply {
            Reply::Take | Reply::Partly(_) => self.taken.lock().unwrap().push(request),
            Reply::Silence => std::future::pending().await,
            Reply::Busy | Reply::TooMany(_) | Reply::Wrong => {}
        }
        reply
    }
}

/// It serves until the runtime's end.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
}

impl Collector {
    pub async fn start(replies: &[Reply]) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), None, replies).await
    }

    pub async fn with_tls(acceptor: TlsAcceptor) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), Some(acceptor), &[]).await
    }

    pub async fn at(address: SocketAddr, tls: Option<TlsAcceptor>, replies: &[Reply]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        state.replies.lock().unwrap().extend(replies);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let router = router(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (router, tls) = (router.clone(), tls.clone());
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let service = TowerToHyperService::new(router);
                    let Some(tls) = tls else {
                        return drop(server.serve_connection(TokioIo::new(stream), service).await);
                    };
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(server.serve_connection(TokioIo::new(stream), service).await);
                    }
                });
            }
        });
        Self { address, scheme, state }
    }

    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    /// Requests that it has taken.
    pub fn taken(&self) -> Vec<ExportTraceServiceRequest> {
        self.state.taken.lock().unwrap().clone()
    }

    /// The headers of all requests.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.state.headers.lock().unwrap().clone()
    }

    /// From now on, for the next requests.
    pub fn will(&self, replies: &[Reply]) {
        self.state.replies.lock().unwrap().extend(replies);
    }
}

fn router(state: &Arc<State>) -> Router {
    let by_http = Arc::clone(state);
    let take = move |headers: HeaderMap, body: Bytes| by_http_with(Arc::clone(&by_http), headers, body);
    let by_grpc = TraceServiceServer::new(ByGrpc(Arc::clone(state)));
    tonic::service::Routes::new(by_grpc)
        .into_axum_router()
        .route("/prefix/v1/traces", post(take.clone()))
        .route("/v1/traces", post(take))
}

async fn by_http_with(state: Arc<State>, headers: HeaderMap, body: Bytes) -> HttpResponse {
    if headers["content-type"] != "application/x-protobuf" {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match state.answer(headers, request).await {
        Reply::Take => ExportTraceServiceResponse::default().encode_to_vec().into_response(),
        Reply::Partly(spans) => partly(spans).encode_to_vec().into_response(),
        Reply::TooMany(seconds) => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())]).into_response()
        }
        Reply::Wrong => StatusCode::BAD_REQUEST.into_response(),
        Reply::Busy | Reply::Silence => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn partly(rejected_spans: i64) -> ExportTraceServiceResponse {
    let error_message = "too old".to_owned();
    let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
    ExportTraceServiceResponse { partial_success }
}

struct ByGrpc(Arc<State>);

#[tonic::async_trait]
impl TraceService for ByGrpc {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        match self.0.answer(headers, request.into_inner()).await {
            Reply::Take => Ok(Response::new(ExportTraceServiceResponse::default())),
            Reply::Partly(spans) => Ok(Response::new(partly(spans))),
            Reply::Wrong => Err(Status::new(Code::InvalidArgument, "no such thing")),
            Reply::Busy | Reply::TooMany(_) | Reply::Silence => {
                Err(Status::new(Code::Unavailable, "later, please"))
            }
        }
    }
}

/// Asks until it is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let asked = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap_or_else(|_| panic!("never: {what}"));
}
