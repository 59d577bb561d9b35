//! A login that something long goes on with: a stream or a shell. It ends with the login, and while it goes on the login is used.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::response::Response;
use futures::{StreamExt as _, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often a stream says that its login is used.
const USED_EVERY: Duration = Duration::from_secs(60);

/// A login, for as long as a request takes.
#[derive(Clone)]
pub(in crate::server) struct Lease {
    use_it: Arc<dyn Fn() + Send + Sync>,
    ended: CancellationToken,
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
    /// `use_it` says that the login is used; `ended` is cancelled when it ends.
    pub(super) fn new(use_it: impl Fn() + Send + Sync + 'static, ended: CancellationToken) -> Self {
        Self { use_it: Arc::new(use_it), ended }
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Breaks an answer that goes on and on when the login ends.
    pub(super) fn over(self, answer: Response) -> Response {
        let (head, body) = answer.into_parts();
        if body.size_hint().exact().is_some() {
            return Response::from_parts(head, body);
        }
        let start = Some((body.into_data_stream(), self, Instant::now()));
        let stream = stream::unfold(start, |state| async {
            let (mut body, lease, mut used) = state?;
            let next: Result<Bytes, axum::BoxError> = match lease.ended.run_until_cancelled(body.next()).await
            {
                Some(next) => next?.map_err(Into::into),
                None => Err(LoggedOut.into()),
            };
            if used.elapsed() >= USED_EVERY {
                (lease.use_it)();
                used = Instant::now();
            }
            let state = next.is_ok().then_some((body, lease, used));
            Some((next, state))
        });
        Response::from_parts(head, Body::from_stream(stream))
    }
}
