//! Webhooks: sent as GitHub does, or lost, doubled, late, forged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde_json::Value;

use crate::http::{Delivery, Outbox, Posts, Shared, answer, uuid};

use super::FakeGithub;
use super::contract;
use super::known::hooks::{Delivered, Outgoing};
use super::known::jobs::JobId;
use super::state::State;

/// GitHub waits no longer for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The value of `X-Hub-Signature-256`.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", crate::kept::hex(hmac::sign(&key, body).as_ref()))
}

impl State {
    /// Sends `workflow_job` to every webhook.
    pub(super) fn tell_webhooks(&mut self, id: JobId, action: &str) {
        if self.hooks.targets.is_empty() {
            return;
        }
        let payload = self.webhook_payload(&self.jobs.entries[&id], action);
        for problem in contract::payload(action, &payload) {
            self.violation(problem);
        }
        for (url, secret) in self.hooks.targets.clone() {
            let delivery = self.hooks.outbox.next();
            self.post(&url, &secret, delivery, id, action, &payload);
        }
    }

    fn post(&mut self, url: &str, secret: &str, how: Delivery, id: JobId, action: &str, payload: &Value) {
        let mut body = serde_json::to_vec(payload).unwrap();
        if let Delivery::Huge(bytes) = how {
            body.resize(bytes.max(body.len()), b' ');
        }
        let signature = match how {
            Delivery::Unsigned => None,
            Delivery::WrongSignature => Some(sign("another secret", &body)),
            _ => Some(sign(secret, &body)),
        };
        let one = Outgoing {
            url: url.to_owned(),
            guid: uuid(),
            event: "workflow_job".into(),
            action: Some(action.to_owned()),
            job: Some(id),
            body,
            signature,
        };
        self.hooks.outbox.post(how, &one);
        self.hooks.keep(one);
        self.touch();
    }
}

/// A delivery but for its body.
pub(super) fn request(
    client: &reqwest::Client,
    url: &str,
    event: &str,
    guid: &str,
    signature: Option<&str>,
) -> reqwest::RequestBuilder {
    let request = client
        .post(url)
        .header("user-agent", "GitHub-Hookshot/fake")
        .header("content-type", "application/json")
        .header("x-github-hook-id", "1")
        .header("x-github-hook-installation-target-id", "1")
        .header("x-github-hook-installation-target-type", "integration")
        .header("x-github-event", event)
        .header("x-github-delivery", guid);
    match signature {
        Some(signature) => request.header("x-hub-signature-256", signature),
        None => request,
    }
}

impl Posts for State {
    type Outgoing = Outgoing;
    type Delivered = Delivered;
    const PATIENCE: Duration = PATIENCE;

    fn outbox(&mut self) -> &mut Outbox<Outgoing, Delivered> {
        &mut self.hooks.outbox
    }

    fn changed(&mut self) {
        self.touch();
    }

    async fn send(shared: Arc<Shared<Self>>, client: reqwest::Client, one: Outgoing) -> Delivered {
        let sent_at = shared.with(|state| state.clock.now());
        let started = Instant::now();
        let request = request(&client, &one.url, &one.event, &one.guid, one.signature.as_deref());
        let answer = answer(request.body(one.body)).await;
        let event = match &one.action {
            Some(action) => format!("{}.{action}", one.event),
            None => one.event,
        };
        Delivered { guid: one.guid, event, job: one.job, sent_at, took: started.elapsed(), answer }
    }
}

impl FakeGithub {
    /// Events go to this URL from now on, signed with this secret.
    pub fn webhook(&self, url: &str, secret: &str) {
        self.shared.with(|state| state.hooks.targets.push((url.to_owned(), secret.to_owned())));
    }

    /// No event goes anywhere from now on.
    pub fn remove_webhooks(&self) {
        self.shared.with(|state| state.hooks.targets.clear());
    }

    /// The next so many deliveries are made like this; those after them normally.
    pub fn deliver_next(&self, count: usize, how: Delivery) {
        self.shared.deliver_next(count, how);
    }

    /// Sends a delivery again, as the button on the webhook's page does: under the same delivery id.
    ///
    /// # Panics
    ///
    /// When nothing was sent under this id, or 200 others since.
    pub fn redeliver(&self, guid: &str) {
        self.shared.with(|state| {
            let one = state.hooks.sent.iter().find(|one| one.guid == guid).expect("a delivery").clone();
            state.hooks.outbox.post(Delivery::Normal, &one);
            state.touch();
        });
    }

    /// Sends a body made by hand to every webhook, under an id of its own; signed with the webhook's secret unless a
    /// value for the header is given.
    pub fn deliver_raw(&self, event: &str, body: &[u8], signature: Option<&str>) {
        self.shared.with(|state| {
            for (url, secret) in state.hooks.targets.clone() {
                let signature = signature.map_or_else(|| sign(&secret, body), ToOwned::to_owned);
                let (event, guid, body) = (event.to_owned(), uuid(), body.to_vec());
                let (action, job, signature) = (None, None, Some(signature));
                let one = Outgoing { url, guid, event, action, job, body, signature };
                state.hooks.outbox.post(Delivery::Normal, &one);
                state.hooks.keep(one);
            }
            state.touch();
        });
    }

    /// Deliveries that were answered or failed, in that order.
    pub fn delivered(&self) -> Vec<Delivered> {
        self.shared.delivered()
    }

    /// Waits until nothing is on its way or due later.
    ///
    /// # Panics
    ///
    /// When something is after `within`.
    pub fn wait_delivered(&self, within: Duration) {
        self.shared.wait_delivered(within);
    }
}
