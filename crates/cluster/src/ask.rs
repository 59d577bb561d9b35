//! One host asks another, and gets an answer or is told why not. What is asked is not known here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::RequestErrorKind;
use bytes::Bytes;
use fireactions_model::{ClusterHost, ClusterName, ExponentialBackoff};
use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::trouble::{Trouble, words};

/// For another host to answer. Longer than what it may take by itself.
const ANSWERED: Duration = Duration::from_secs(40);
/// Questions that are answered at a time. More wait.
const AT_ONCE: usize = 8;
/// Pauses after errors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

fn subject(cluster: &ClusterName, host: &ClusterHost) -> String {
    format!("fireactions.{cluster}.ask.{host}")
}

/// Asks a host.
///
/// # Errors
/// When no such host is there, or it does not answer in time.
pub async fn ask(link: &Link, host: &ClusterHost, question: Vec<u8>) -> Result<Bytes, Trouble> {
    let subject = subject(&link.settings.cluster, host);
    let doing = || format!("to ask the host '{host}'");
    let request = async_nats::Request::new().payload(question.into()).timeout(Some(ANSWERED));
    let asked = link.client().send_request(subject, request);
    let answer = tokio::select! {
        answer = timeout(ANSWERED, asked) => {
            answer.map_err(|_| Trouble::Late { doing: doing(), deadline: ANSWERED })?
        }
        () = link.lost() => return Err(link.unreachable()),
    };
    match answer {
        Ok(answer) => Ok(answer.payload),
        Err(error) => Err(match error.kind() {
            RequestErrorKind::NoResponders => Trouble::NoHost(host.clone()),
            RequestErrorKind::TimedOut => Trouble::Late { doing: doing(), deadline: ANSWERED },
            _ => Trouble::Other { doing: doing(), why: words(&error) },
        }),
    }
}

/// Answers what this host is asked, until `stop`.
pub async fn answer<F, A>(link: Link, host: ClusterHost, respond: F, stop: CancellationToken)
where
    F: Fn(Bytes) -> A + Clone + Send + 'static,
    A: Future<Output = Vec<u8>> + Send + 'static,
{
    let mut pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let answering = async {
        loop {
            let why = match link.client().subscribe(subject(&link.settings.cluster, &host)).await {
                Ok(mut questions) => {
                    pauses.succeeded();
                    while let Some(question) = questions.next().await {
                        let Some(reply) = question.reply else { continue };
                        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                        let (client, respond) = (link.client().clone(), respond.clone());
                        tokio::spawn(async move {
                            let answer = respond(question.payload).await;
                            if let Err(error) = client.publish(reply, answer.into()).await {
                                tracing::debug!(%error, "another host's question could not be answered");
                            }
                            drop(place);
                        });
                    }
                    "the subscription ended".to_owned()
                }
                Err(error) => words(&error),
            };
            tracing::debug!(why, "this host cannot be asked by others; trying again");
            sleep(pauses.failed(rand::random())).await;
        }
    };
    let _ = stop.run_until_cancelled(answering).await;
}
