//! What one host has heard is told to all others, once and without an answer: whoever is not there does not hear of it.

use std::future::Future;
use std::time::Duration;

use async_nats::header::{HeaderName, HeaderValue};
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use fireactions_model::{ClusterHost, ClusterName};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::subscription;
use crate::trouble::{Trouble, words};

/// The host that spreads it.
const FROM: &str = "Fireactions-Host";
/// Room for headers and what NATS adds, in bytes.
const AROUND: usize = 16 * 1024;
/// For NATS to take it: who has heard it waits meanwhile.
const DEADLINE: Duration = Duration::from_secs(1);

/// Something heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Names and values that go with it. Together at most some kilobytes.
    pub headers: Vec<(String, String)>,
    /// What was heard.
    pub body: Bytes,
}

fn subject(cluster: &ClusterName, topic: &str) -> String {
    format!("fireactions.{cluster}.heard.{topic}")
}

/// Tells all other hosts of something heard of this topic: a word without dots and blanks.
///
/// # Errors
/// When NATS is away, or it is longer than NATS lets a message be.
pub async fn spread(link: &Link, topic: &str, heard: Heard) -> Result<(), Trouble> {
    let doing = || format!("to tell the other hosts of '{topic}'");
    let failed = |why: String| Trouble::Other { doing: doing(), why };
    // It would wait in this host's memory for a connection.
    if !link.is_up() {
        return Err(link.unreachable());
    }
    let most = link.client().server_info().max_payload.saturating_sub(AROUND);
    if heard.body.len() > most {
        return Err(failed(format!("it has {} bytes, and NATS takes {most}", heard.body.len())));
    }
    let mut headers = HeaderMap::new();
    headers.insert(FROM, link.settings.host.as_str());
    for (name, value) in &heard.headers {
        let name: HeaderName = name.parse().map_err(|error| failed(words(&error)))?;
        let value: HeaderValue = value.parse().map_err(|error| failed(words(&error)))?;
        headers.insert(name, value);
    }
    let told =
        link.client().publish_with_headers(subject(&link.settings.cluster, topic), headers, heard.body);
    match timeout(DEADLINE, told).await {
        Ok(told) => told.map_err(|error| failed(words(&error))),
        Err(_) => Err(Trouble::Late { doing: doing(), deadline: DEADLINE }),
    }
}

/// Takes what other hosts spread of this topic, one after the other, until `stop`.
pub async fn hear<F, A>(link: Link, topic: String, take: F, stop: CancellationToken)
where
    F: Fn(Heard) -> A + Send + Sync,
    A: Future<Output = ()> + Send,
{
    let take = |message: Message| {
        let taken = of_another(message, &link.settings.host).map(&take);
        async move {
            if let Some(taken) = taken {
                taken.await;
            }
        }
    };
    subscription::each(&link, subject(&link.settings.cluster, &topic), take, stop).await;
}

/// The message, unless this host itself has sent it.
fn of_another(message: Message, own: &ClusterHost) -> Option<Heard> {
    let headers = message.headers.unwrap_or_default();
    if headers.get(FROM).is_none_or(|from| from.as_str() == own.as_str()) {
        return None;
    }
    let pairs = headers.iter().filter(|(name, _)| <HeaderName as AsRef<str>>::as_ref(name) != FROM);
    let one = |(name, values): (&HeaderName, &Vec<HeaderValue>)| {
        Some((name.to_string(), values.first()?.as_str().to_owned()))
    };
    Some(Heard { headers: pairs.filter_map(one).collect(), body: message.payload })
}
