//! One host asks another, and gets an answer or is told why not. What is asked is not known here.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, RequestErrorKind};
use bytes::Bytes;
use fireactions_model::{ClusterHost, ClusterName};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::subscription;
use crate::trouble::{Trouble, words};

/// For another host to answer. Longer than what it may take by itself.
const ANSWERED: Duration = Duration::from_secs(40);
/// Questions that are answered at a time. More wait.
const AT_ONCE: usize = 8;

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
    F: Fn(Bytes) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Vec<u8>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let client = link.client();
    let take = |question: Message| {
        let (room, client, respond) = (Arc::clone(&room), client.clone(), respond.clone());
        async move {
            let Some(reply) = question.reply else { return };
            let Ok(place) = room.acquire_owned().await else { return };
            tokio::spawn(async move {
                let answer = respond(question.payload).await;
                if let Err(error) = client.publish(reply, answer.into()).await {
                    tracing::debug!(%error, "another host's question could not be answered");
                }
                drop(place);
            });
        }
    };
    subscription::each(&link, subject(&link.settings.cluster, &host), take, stop).await;
}
