//! A forge's webhook may lead to any host: what one is told, all are told. Each checks the forge's signature itself, so no host need
//! believe another, and takes what it hears twice once.

use fireactions_cluster::{Heard, Link, hear, spread};
use fireactions_forge::{Answer, Delivery, HostedForge};
use fireactions_model::ForgeName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Headers of forges that go along: `X-…`, which say what it is and who signed it, and how it is written.
const HEADERS: usize = 32;
const LONGEST: usize = 512;

/// Passes deliveries on to the other hosts.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub(crate) link: watch::Receiver<Option<Link>>,
}

impl Deliveries {
    /// Passes on a delivery that this host has taken. It is a hint: where it does not get through, the others find what it says when
    /// they ask the forge.
    pub async fn pass_on(&self, forge: &ForgeName, headers: Vec<(String, String)>, body: Vec<u8>) {
        // Not held while it is sent.
        let link = self.link.borrow().clone();
        let Some(link) = link else { return };
        let headers = headers.into_iter().filter(|(name, value)| {
            value.len() <= LONGEST && (name == "content-type" || name.starts_with("x-"))
        });
        let heard = Heard { headers: headers.take(HEADERS).collect(), body: body.into() };
        if let Err(trouble) = spread(&link, forge.as_str(), heard).await {
            tracing::debug!(%forge, %trouble, "a webhook delivery was not passed on to the other hosts");
        }
    }
}

/// Takes what other hosts were told by this forge, until `stop`.
pub(crate) async fn take(link: Link, forge: HostedForge, stop: CancellationToken) {
    let take = |heard: Heard| {
        let forge = forge.clone();
        async move {
            let header = |name: &str| {
                let mut all = heard.headers.iter();
                all.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
            };
            let answer = forge.deliver(Delivery { header: &header, body: &heard.body }).await;
            if answer != Answer::Taken {
                tracing::debug!(forge = %forge.name(), ?answer, "a delivery that another host passed on was not taken");
            }
        }
    };
    hear(link, forge.name().to_string(), take, stop).await;
}
