//! Webhooks of `workflow_job`: sent as Gitea does, once each; or lost, doubled, late, forged.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::http::{Delivery, Outbox, Posts, Shared, answer, uuid};
use crate::kept::hex;

use super::FakeGitea;
use super::known::accounts::{Owner, Scope};
use super::known::hooks::{Delivered, Hook, Of, Outgoing};
use super::known::jobs::JobId;
use super::state::State;

/// The value of `X-Gitea-Signature`: bare. Without a secret it is empty.
pub fn sign(secret: &str, body: &[u8]) -> String {
    if secret.is_empty() { String::new() } else { keyed(hmac::HMAC_SHA256, secret, body) }
}

fn keyed(algorithm: hmac::Algorithm, secret: &str, body: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), body).as_ref())
}

impl State {
    /// Tells the webhooks that hear of it how a job stands.
    pub(super) fn tell_hooks(&mut self, id: u64) {
        if !self.release.tells_jobs() || self.hooks.all.is_empty() {
            return;
        }
        let repository = self.jobs.entries[&id].repository;
        let payload = self.payload(id);
        for hook in self.hearing(repository) {
            let delivery = self.hooks.outbox.next();
            self.post(&hook, delivery, id, &payload);
        }
    }

    /// First the repository's, then its owner's, then the system's.
    fn hearing(&self, repository: u64) -> Vec<Hook> {
        let owner = self.accounts.repository(repository).owner;
        let places = [
            Of::Owner(Owner { owner: 0, repository }),
            Of::Owner(Owner { owner, repository: 0 }),
            Of::System,
        ];
        let hears = |hook: &&Hook| hook.active && hook.events.iter().any(|event| event == "workflow_job");
        let of = |place: Of| self.hooks.all.iter().filter(move |hook| hook.of == place);
        places.into_iter().flat_map(of).filter(hears).cloned().collect()
    }

    /// What the webhooks are told of a job as it stands.
    pub(super) fn payload(&self, id: u64) -> Value {
        let job = &self.jobs.entries[&id];
        let object = self.gitea_job(job);
        let repository = self.accounts.repository(job.repository);
        let owner = self.accounts.account(repository.owner);
        let mut payload = json!({
            "action": object["status"],
            "workflow_job": object,
            "repository": self.repository(repository),
            "sender": self.user(self.accounts.account(self.jobs.runs[&job.run].actor)),
        });
        if owner.owners.is_some() {
            payload["organization"] = self.organization(owner);
        }
        payload
    }

    fn post(&mut self, hook: &Hook, how: Delivery, job: u64, payload: &Value) {
        let mut text = serde_json::to_string_pretty(payload).unwrap();
        if let Delivery::Huge(bytes) = how {
            text.extend(std::iter::repeat_n(' ', bytes.saturating_sub(text.len())));
        }
        let (signature, hub) = match how {
            Delivery::Unsigned => (None, None),
            Delivery::WrongSignature => (Some(sign("another secret", text.as_bytes())), None),
            _ => (Some(sign(&hook.secret, text.as_bytes())), Some(())),
        };
        let guid = uuid();
        let mut headers = headers(hook, &guid);
        if let Some(signature) = signature {
            let sha1 = match (&hook.secret, hub) {
                (secret, Some(())) if !secret.is_empty() => {
                    keyed(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret, text.as_bytes())
                }
                _ => String::new(),
            };
            headers.push(("X-Hub-Signature".into(), format!("sha1={sha1}")));
            headers.push(("X-Hub-Signature-256".into(), format!("sha256={signature}")));
            headers.push(("X-Gogs-Signature".into(), signature.clone()));
            headers.push(("X-Gitea-Signature".into(), signature));
        }
        // The signature is over the JSON, in both forms.
        let (kind, body) = if hook.is_form {
            ("application/x-www-form-urlencoded", format!("payload={}", form(&text)))
        } else {
            ("application/json", text)
        };
        headers.push(("Content-Type".into(), kind.into()));
        let action = payload["action"].as_str().unwrap_or_default().to_owned();
        let one = Outgoing { guid, url: hook.url.clone(), action, job, headers, body: body.into_bytes() };
        self.hooks.outbox.post(how, &one);
        self.touch();
    }
}

/// The headers but for the signatures and the body's type.
fn headers(hook: &Hook, guid: &str) -> Vec<(String, String)> {
    let target = match hook.of {
        Of::Owner(Owner { repository: 0, .. }) => "organization",
        Of::Owner(_) => "repository",
        Of::System | Of::Default => "system",
    };
    let mut headers = vec![("User-Agent".to_owned(), "Go-http-client/1.1".to_owned())];
    for forge in ["GitHub", "Gitea", "Gogs"] {
        headers.push((format!("X-{forge}-Delivery"), guid.to_owned()));
        headers.push((format!("X-{forge}-Event"), "workflow_job".to_owned()));
        headers.push((format!("X-{forge}-Event-Type"), "workflow_job".to_owned()));
        if forge != "Gogs" {
            headers.push((format!("X-{forge}-Hook-Installation-Target-Type"), target.to_owned()));
        }
    }
    if !hook.authorization.is_empty() {
        headers.push(("Authorization".into(), hook.authorization.clone()));
    }
    headers
}

/// As Go writes a form's values.
fn form(text: &str) -> String {
    let write = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(write).collect()
}

impl Posts for State {
    type Outgoing = Outgoing;
    type Delivered = Delivered;
    const PATIENCE: Duration = Duration::from_secs(5);

    fn outbox(&mut self) -> &mut Outbox<Outgoing, Delivered> {
        &mut self.hooks.outbox
    }

    fn changed(&mut self) {
        self.touch();
    }

    async fn send(_: Arc<Shared<Self>>, client: reqwest::Client, one: Outgoing) -> Delivered {
        let mut request = client.post(&one.url);
        for (name, value) in &one.headers {
            request = request.header(name, value);
        }
        let answer = answer(request.body(one.body)).await;
        Delivered { guid: one.guid, url: one.url, action: one.action, job: JobId(one.job), answer }
    }
}

impl FakeGitea {
    /// A webhook for `workflow_job`; with an empty secret, one without. Nothing comes of one on a server that has no such
    /// event: Forgejo, and Gitea before 1.24.
    pub fn webhook(&self, scope: &Scope, url: &str, secret: &str) {
        self.hook(scope, url, secret, false);
    }

    /// One with the content type of forms.
    pub fn form_webhook(&self, scope: &Scope, url: &str, secret: &str) {
        self.hook(scope, url, secret, true);
    }

    fn hook(&self, scope: &Scope, url: &str, secret: &str, is_form: bool) {
        self.shared.with(|state| {
            let of = match scope {
                Scope::Instance => Of::System,
                scope => Of::Owner(state.accounts.owner(scope)),
            };
            let hook = Hook {
                id: state.hooks.all.len() as u64 + 1,
                of,
                url: url.to_owned(),
                secret: secret.to_owned(),
                is_form,
                active: true,
                events: vec!["workflow_job".into()],
                authorization: String::new(),
                branch_filter: String::new(),
                kind: "gitea".into(),
                created: state.now(),
            };
            state.hooks.all.push(hook);
        });
    }

    /// No event goes anywhere from now on.
    pub fn remove_webhooks(&self) {
        self.shared.with(|state| state.hooks.all.clear());
    }

    /// The next so many deliveries are made like this; those after them normally.
    pub fn deliver_next(&self, count: usize, how: Delivery) {
        self.shared.deliver_next(count, how);
    }

    /// What a webhook would be told of a job now.
    ///
    /// # Panics
    ///
    /// When there is no such job.
    pub fn payload(&self, job: JobId) -> Value {
        self.shared.with(|state| state.payload(job.0))
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
