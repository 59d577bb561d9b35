//! What guests reach of one registry's cache: docker-registry's answers, which say where they are from.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use fireactions_registry_cache::{Asked, RegistryStatus};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::room::{Reserved, Room};
use super::upstream::Upstream;
use super::wire;

/// Where an answer is from, RFC 9211.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The digest of a manifest.
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// For docker-registry to listen, which is just started.
const STARTING: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// Until more of an answer's body is there.
const STALLED: Duration = Duration::from_secs(120);
/// docker-registry keeps in the background what it sends, and fails where another request finds that half-written: then it is asked
/// again.
const HALF_WRITTEN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(1)];
/// Longest file with a digest.
const LINK: usize = 100;

/// One registry's cache.
pub(super) struct Front {
    /// Where docker-registry keeps its images.
    pub(super) directory: PathBuf,
    /// The socket of the one that asks the registry.
    pub(super) through: PathBuf,
    /// The socket of the one that serves what there is, while the registry does not answer.
    pub(super) alone: PathBuf,
    pub(super) upstream: Arc<Upstream>,
    pub(super) room: Arc<Room>,
    pub(super) counts: Counts,
}

/// Counted since the start.
#[derive(Default)]
pub(super) struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    sent: AtomicU64,
}

/// Whether what is asked for was there before.
enum Had {
    Yes,
    No,
    /// This digest was, under the tag that is asked for.
    Digest(String),
}

impl Front {
    pub(super) fn status(&self) -> RegistryStatus {
        let Counts { hits, misses, sent } = &self.counts;
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RegistryStatus {
            offline: self.upstream.is_down(),
            hits: get(hits),
            misses: get(misses),
            sent_bytes: get(sent),
            upstream_errors: self.upstream.errors(),
        }
    }

    /// What its listener serves.
    pub(super) fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(answer).with_state(self)
    }

    async fn had(&self, asked: &Asked) -> Had {
        let files = asked.files(&self.directory);
        if let Asked::Tag { repository, .. } = asked {
            let [link] = files.as_slice() else { return Had::No };
            let Ok(text) = tokio::fs::read_to_string(link).await else { return Had::No };
            let digest = text.get(..text.len().min(LINK)).unwrap_or_default().trim().to_owned();
            let manifest = Asked::of(&format!("/v2/{repository}/manifests/{digest}"));
            return if all_there(&manifest.files(&self.directory)).await {
                Had::Digest(digest)
            } else {
                Had::No
            };
        }
        if all_there(&files).await { Had::Yes } else { Had::No }
    }

    async fn ask(
        &self,
        socket: &Path,
        request: axum::http::Request<Body>,
    ) -> std::io::Result<Response<hyper::body::Incoming>> {
        let until = Instant::now() + STARTING;
        loop {
            match UnixStream::connect(socket).await {
                Ok(io) => return wire::ask(io, request).await,
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
                        && Instant::now() < until =>
                {
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (head_of, _) = request.into_parts();
    if !matches!(head_of.method, Method::GET | Method::HEAD) {
        return refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "this is a cache: nothing is pushed to it",
        );
    }
    let asked = Asked::of(head_of.uri.path());
    let (mut offline, had) = (front.upstream.is_down(), front.had(&asked).await);
    let is_new = matches!(had, Had::No) && asked != Asked::Other;
    if !offline && is_new && front.room.is_full() {
        return no_room();
    }
    let asked_for = || head(&head_of, head_of.method.clone());
    let mut pauses = HALF_WRITTEN.into_iter();
    let answered = loop {
        let answered = if offline {
            front.ask(&front.alone, asked_for()).await
        } else {
            tokio::select! {
                answered = front.ask(&front.through, asked_for()) => answered,
                () = front.upstream.hangs() => {
                    offline = true;
                    front.ask(&front.alone, asked_for()).await
                }
            }
        };
        let fails =
            answered.as_ref().is_ok_and(|answer| answer.status() == StatusCode::INTERNAL_SERVER_ERROR);
        match pauses.next() {
            Some(pause) if fails && matches!(asked, Asked::Blob { .. }) => sleep(pause).await,
            _ => break answered,
        }
    };
    let answer = match answered {
        Ok(answer) => answer,
        Err(error) => {
            front.upstream.doubt(false);
            tracing::debug!(%error, "docker-registry does not answer");
            let words = "the cache's own program does not answer; it is started again";
            return refused(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", words);
        }
    };
    let (mut parts, body) = answer.into_parts();
    let (status, found) = (parts.status, parts.status.is_success());
    if !offline && !found {
        front.upstream.doubt(status.is_server_error());
    }
    let mut reserved = None;
    if !offline && is_new && found && head_of.method == Method::GET && matches!(asked, Asked::Blob { .. }) {
        // It says how much it sends, and has not sent it yet. Asked for that alone (HEAD), it would begin to keep it, too.
        let size = parts.headers.get(CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse().ok());
        if let Some(size) = size {
            reserved = front.room.reserve(size).await;
            if reserved.is_none() {
                return no_room();
            }
        }
    }
    let hit = found
        && match had {
            Had::Yes => true,
            Had::No => false,
            Had::Digest(digest) => parts.headers.get(DIGEST).is_some_and(|value| value == digest.as_str()),
        };
    parts.headers = end_to_end(&parts.headers);
    if asked != Asked::Other {
        let cache_status = match (hit, offline) {
            (true, false) => "fireactions; hit",
            (false, false) => "fireactions; fwd=miss",
            (true, true) => "fireactions; hit; detail=offline",
            (false, true) => "fireactions; detail=offline",
        };
        parts.headers.insert(CACHE_STATUS, HeaderValue::from_static(cache_status));
        if head_of.method == Method::GET && (found || offline) {
            let count = if hit { &front.counts.hits } else { &front.counts.misses };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
    Response::from_parts(parts, counted(front, reserved, Body::new(body)))
}

/// A body whose bytes are counted, and which ends when no more comes.
fn counted(front: Arc<Front>, reserved: Option<Reserved>, body: Body) -> Body {
    let chunks = body.into_data_stream().map_err(std::io::Error::other).boxed();
    Body::from_stream(stream::try_unfold((chunks, front, reserved), |(mut chunks, front, reserved)| async {
        let next = timeout(STALLED, chunks.try_next()).await;
        let Some(chunk): Option<Bytes> = next.map_err(std::io::Error::from)?? else { return Ok(None) };
        front.counts.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        Ok::<_, std::io::Error>(Some((chunk, (chunks, front, reserved))))
    }))
}

async fn all_there(files: &[PathBuf]) -> bool {
    for file in files {
        if !tokio::fs::try_exists(file).await.unwrap_or(false) {
            return false;
        }
    }
    !files.is_empty()
}

/// The same request for docker-registry. Who asks there is the cache, not the guest.
fn head(from: &axum::http::request::Parts, method: Method) -> axum::http::Request<Body> {
    let mut request = axum::http::Request::new(Body::empty());
    *request.method_mut() = method;
    if let Some(path) = from.uri.path_and_query() {
        *request.uri_mut() = path.clone().into();
    }
    *request.headers_mut() = end_to_end(&from.headers);
    request.headers_mut().remove(axum::http::header::AUTHORIZATION);
    request.headers_mut().remove(CONTENT_LENGTH);
    request
}

/// Headers that are not of one connection alone.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in ["keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "upgrade"] {
        kept.remove(name);
    }
    kept.remove(CONNECTION);
    kept.remove(TRANSFER_ENCODING);
    kept
}

fn no_room() -> Response {
    let words = "there is no room for it on the cache's disk; ask the registry itself";
    let mut response = refused(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", words);
    response.headers_mut().insert(CACHE_STATUS, HeaderValue::from_static("fireactions; detail=no-room"));
    response
}

/// An error as registries tell them.
fn refused(status: StatusCode, code: &str, words: &str) -> Response {
    let body = Json(json!({"errors": [{"code": code, "message": words}]}));
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
