//! Where forges deliver their webhooks: an address of its own with a path for each, at which nothing else answers, for it is
//! open to the world.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::routing::post;
use fireactions_forge::{Answer, Delivery, HostedForge, MAX_DELIVERY};
use fireactions_sharing::Deliveries;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// GitHub gives a delivery ten seconds, Gitea five; a small one is sent within a moment.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Deliveries that are read at once. One is taken in well under a millisecond, so this is for senders that are slow.
const AT_ONCE: usize = 64;

#[derive(Clone)]
struct Door {
    forge: HostedForge,
    places: Arc<Semaphore>,
    /// The other hosts of the cluster.
    others: Option<Deliveries>,
}

/// Takes each forge's deliveries at its path, and passes them on to the other hosts of the cluster.
pub(super) fn router<'a>(
    forges: impl Iterator<Item = (HostedForge, Cow<'a, str>)>,
    others: Option<&Deliveries>,
) -> Router {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    forges.fold(Router::new(), |router, (forge, path)| {
        let door = Door { forge, places: places.clone(), others: others.cloned() };
        router.route(&path, post(deliver).with_state(door))
    })
}

/// 202: taken. Who cannot sign is told no more than that.
async fn deliver(State(door): State<Door>, request: Request<Body>) -> (StatusCode, Cow<'static, str>) {
    let Ok(_place) = door.places.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many deliveries at once\n".into());
    };
    let (parts, body) = request.into_parts();
    let body = match timeout(BODY_DEADLINE, to_bytes(body, MAX_DELIVERY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, "too large, or cut off\n".into()),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "too slow\n".into()),
    };
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    match door.forge.deliver(Delivery { header: &header, body: &body }).await {
        Answer::Taken => {
            if let Some(others) = &door.others {
                let text = |(name, value): (&HeaderName, &HeaderValue)| {
                    Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
                };
                let headers = parts.headers.iter().filter_map(text).collect();
                others.pass_on(door.forge.name(), headers, body.into()).await;
            }
            (StatusCode::ACCEPTED, "".into())
        }
        Answer::Forged => {
            (StatusCode::UNAUTHORIZED, "the signature is not that of this webhook's secret\n".into())
        }
        Answer::Malformed(why) => {
            tracing::warn!(forge = %door.forge.name(), "a webhook delivery with a good signature could not be read: {why}");
            // Whoever can sign may know, and sees it where the webhook is set up.
            (StatusCode::BAD_REQUEST, format!("it cannot be read: {why}\n").into())
        }
        Answer::Busy => (StatusCode::SERVICE_UNAVAILABLE, "no room for it now\n".into()),
        Answer::Unready(why) => {
            tracing::error!(forge = %door.forge.name(), "a webhook delivery could not be checked: {why}");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the secret cannot be read; the server's log says why\n".into(),
            )
        }
    }
}
