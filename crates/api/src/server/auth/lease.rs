//! A login that something long goes on with: a stream or a shell. It ends with the login, and while it goes on the login is used.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::response::Response;
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often what goes on says that its login is used.
const USED_EVERY: Duration = Duration::from_secs(60);

/// A login, for as long as a request takes.
#[derive(Clone)]
pub(in crate::server) struct Lease {
    use_it: Arc<dyn Fn() + Send + Sync>,
    ended: CancellationToken,
    /// When it ends however much it is used.
    until: Option<Instant>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease(…)")
    }
}

/// What a stream breaks with.
#[derive(Debug, thiserror::Error)]
#[error("the login has ended")]
struct LoggedOut;

impl Lease {
    /// `use_it` says that the login is used; `ended` is cancelled when it ends; one by a provider is over after so long in any case.
    pub(super) fn new(
        use_it: impl Fn() + Send + Sync + 'static,
        ended: CancellationToken,
        left: Option<Duration>,
    ) -> Self {
        Self { use_it: Arc::new(use_it), ended, until: left.map(|left| Instant::now() + left) }
    }

    /// Returns when it has ended. As long as somebody waits for that, it is used.
    pub(super) async fn ended(&self) {
        let over = async {
            match self.until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let used = async {
            loop {
                sleep(USED_EVERY).await;
                (self.use_it)();
            }
        };
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = over => {}
            () = used => {}
        }
    }

    /// Breaks an answer that goes on and on when the login ends.
    pub(super) fn over(self, answer: Response) -> Response {
        let (head, body) = answer.into_parts();
        if body.size_hint().exact().is_some() {
            return Response::from_parts(head, body);
        }
        let ended = Box::pin(async move { self.ended().await });
        let stream = stream::unfold(Some((body.into_data_stream(), ended)), |state| async {
            let (mut body, mut ended) = state?;
            let next: Result<Bytes, axum::BoxError> = tokio::select! {
                biased;
                () = &mut ended => Err(LoggedOut.into()),
                next = body.next() => next?.map_err(Into::into),
            };
            let state = next.is_ok().then_some((body, ended));
            Some((next, state))
        });
        Response::from_parts(head, Body::from_stream(stream))
    }
}
