//! Deliveries at a pace that tests choose, beside those that the fake sends by itself.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::uuid;

use super::hooks::{self, PATIENCE, sign};
use super::{FakeGithub, JobId};

/// Signs deliveries and sends them to one webhook. Clones share connections.
#[derive(Debug, Clone)]
pub struct Hookshot {
    client: reqwest::Client,
    url: String,
    secret: String,
}

impl Hookshot {
    /// To this address, with this secret.
    ///
    /// # Panics
    ///
    /// When there can be no HTTP client.
    pub fn new(url: &str, secret: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { client, url: url.to_owned(), secret: secret.to_owned() }
    }

    /// Sends an event under a delivery id of its own; gives the answer's status and how long it took.
    ///
    /// # Errors
    ///
    /// Why there was no answer.
    pub async fn send(&self, event: &str, payload: &Value) -> Result<(u16, Duration), String> {
        let body = payload.to_string().into_bytes();
        let signature = sign(&self.secret, &body);
        let request = hooks::request(&self.client, &self.url, event, &uuid(), Some(&signature)).body(body);
        let began = Instant::now();
        let answer = request.send().await.map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), began.elapsed()))
    }
}

impl FakeGithub {
    /// What a webhook would be told of a job now, with this action (`queued`, `in_progress`, `completed`).
    ///
    /// # Panics
    ///
    /// When there is no such job.
    pub fn payload(&self, job: JobId, action: &str) -> Value {
        self.shared.with(|state| state.webhook_payload(&state.jobs.entries[&job], action))
    }
}
