//! What is sent to a subject of NATS, taken for as long as this host is there.

use std::future::Future;
use std::time::Duration;

use async_nats::Message;
use fireactions_model::ExponentialBackoff;
use futures::StreamExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::trouble::words;

/// Pauses after errors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Takes what is sent to this subject, one after the other, until `stop`. A subscription that fails is made again.
pub(crate) async fn each<F, A>(link: &Link, subject: String, take: F, stop: CancellationToken)
where
    F: Fn(Message) -> A + Send,
    A: Future<Output = ()> + Send,
{
    let mut pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
    let taking = async {
        loop {
            let why = match link.client().subscribe(subject.clone()).await {
                Ok(mut messages) => {
                    pauses.succeeded();
                    while let Some(message) = messages.next().await {
                        take(message).await;
                    }
                    "the subscription ended".to_owned()
                }
                Err(error) => words(&error),
            };
            tracing::debug!(subject, why, "what other hosts send does not reach this one; trying again");
            sleep(pauses.failed(rand::random())).await;
        }
    };
    let _ = stop.run_until_cancelled(taking).await;
}
