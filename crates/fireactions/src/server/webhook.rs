//! Where GitHub delivers its webhook: an address of its own, at which nothing else answers, for it is open to the world.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use fireactions_forge::github::{Answer, Delivery, GithubForge, MAX_DELIVERY};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// GitHub gives a delivery ten seconds; it has sent a small one within a moment.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Deliveries that are read at once. One is taken in well under a millisecond, so this is for senders that are slow.
const AT_ONCE: usize = 64;

#[derive(Clone)]
struct Door {
    forge: GithubForge,
    places: Arc<Semaphore>,
}

/// Takes deliveries at this path.
pub(super) fn router(forge: GithubForge, path: &str) -> Router {
    let door = Door { forge, places: Arc::new(Semaphore::new(AT_ONCE)) };
    Router::new().route(path, post(deliver)).with_state(door)
}

/// 202: taken. Who cannot sign is told no more than that.
async fn deliver(State(door): State<Door>, request: Request<Body>) -> (StatusCode, &'static str) {
    let Ok(_place) = door.places.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many deliveries at once\n");
    };
    let (parts, body) = request.into_parts();
    let body = match timeout(BODY_DEADLINE, to_bytes(body, MAX_DELIVERY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, "too large, or cut off\n"),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "too slow\n"),
    };
    let delivery = Delivery {
        event: header(&parts.headers, "x-github-event"),
        id: header(&parts.headers, "x-github-delivery"),
        signature: header(&parts.headers, "x-hub-signature-256"),
        body: &body,
    };
    match door.forge.deliver(delivery).await {
        Answer::Taken => (StatusCode::ACCEPTED, ""),
        Answer::Forged => (StatusCode::UNAUTHORIZED, "the signature is not that of this webhook's secret\n"),
        Answer::Malformed(why) => {
            tracing::warn!("a webhook delivery with a good signature could not be read: {why}");
            (StatusCode::BAD_REQUEST, "it cannot be read; the server's log says why\n")
        }
        Answer::Busy => (StatusCode::SERVICE_UNAVAILABLE, "no room for it now\n"),
        Answer::Unready(why) => {
            tracing::error!("a webhook delivery could not be checked: {why}");
            (StatusCode::INTERNAL_SERVER_ERROR, "the secret cannot be read; the server's log says why\n")
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
