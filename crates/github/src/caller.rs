//! A call to the REST API: rate limits, tries and conditional requests, with an authorization that is given.

use std::time::Duration;

use fireactions_model::Secret;
use reqwest::Method;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::etags::Etags;
use crate::limits::Limits;
use crate::transport::{Http, Request, Response};
use crate::{Error, Settings, Timeouts};

/// Requests on their way at once. GitHub allows a hundred to all who use the credential.
const AT_ONCE: usize = 32;
/// Most bytes of an answer. A page of a hundred jobs with their steps is about a megabyte.
const MAX_BODY: usize = 16 << 20;
/// The version of the API that this crate is written against.
const VERSION: &str = "2022-11-28";

/// What is called.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// For errors: `list the runners of acme`.
    pub doing: String,
    /// Which of GitHub's rate limits it may count in: calls of one kind count in one.
    pub kind: &'static str,
    pub method: Method,
    pub url: Url,
    pub body: Option<serde_json::Value>,
    /// Doing it twice does the same as doing it once.
    pub repeatable: bool,
    /// It is asked often and changes rarely.
    pub conditional: bool,
}

impl Call {
    pub(crate) fn get(doing: String, kind: &'static str, url: Url) -> Self {
        Self { doing, kind, method: Method::GET, url, body: None, repeatable: true, conditional: false }
    }

    pub(crate) fn conditional(self) -> Self {
        Self { conditional: true, ..self }
    }
}

/// Sends calls.
pub(crate) struct Caller {
    pub(crate) http: Http,
    pub(crate) limits: Limits,
    etags: Etags,
    permits: Semaphore,
    pub(crate) timeouts: Timeouts,
}

impl Caller {
    pub(crate) fn new(settings: &Settings, timeouts: Timeouts) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(settings)?,
            limits: Limits::default(),
            etags: Etags::default(),
            permits: Semaphore::new(AT_ONCE),
            timeouts,
        })
    }

    /// When a call that begins now must be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeouts.total
    }

    /// Sends a call until it has an answer, at the latest `until`. A wait that a rate limit asks for is waited for when
    /// there is time for it, otherwise it is the caller's. An answer of whatever status is one, but 5xx.
    ///
    /// `credential` names whose rate limits count.
    pub(crate) async fn send(
        &self,
        call: &Call,
        credential: &str,
        authorization: &Secret,
        until: Instant,
    ) -> Result<Response, Error> {
        let mut delays = self.timeouts.delays();
        let mut refusals = 0;
        loop {
            self.wait_for_limits(call, credential, until).await?;
            let (error, again) = match self.attempt(call, credential, authorization, until).await {
                Ok(response) => {
                    let refused = self.limits.note(credential, call.kind, &response).is_some();
                    if refused && refusals < self.timeouts.attempts {
                        // Nothing was done; the next round waits, or tells.
                        refusals += 1;
                        continue;
                    }
                    if refused || !matches!(response.failure(), Error::Server { .. }) {
                        return Ok(response);
                    }
                    (response.failure(), call.repeatable)
                }
                // Nothing was sent.
                Err(error @ Error::Unreachable { .. }) => (error, true),
                Err(error @ (Error::Interrupted { .. } | Error::Timeout { .. })) => (error, call.repeatable),
                Err(error) => return Err(error),
            };
            let Some(delay) = delays.next().filter(|_| again) else { return Err(error) };
            let delay = delay.max(error.retry_after().unwrap_or_default());
            if Instant::now() + delay >= until {
                return Err(error);
            }
            tracing::debug!(%error, ?delay, "asking GitHub again");
            sleep(delay).await;
        }
    }

    async fn wait_for_limits(&self, call: &Call, credential: &str, until: Instant) -> Result<(), Error> {
        while let Some(block) = self.limits.blocked(credential, call.kind) {
            if Instant::now() + block.after >= until {
                let (after, secondary) = (block.after, block.secondary);
                return Err(Error::RateLimited { doing: call.doing.clone(), after, secondary });
            }
            tracing::info!(credential, after = ?block.after, secondary = block.secondary, "GitHub's rate limit is waited for");
            // Others wait for the same moment.
            let jitter = block.after.mul_f64(rand::random_range(0.0..0.1)).min(Duration::from_secs(5));
            sleep(block.after + jitter).await;
        }
        Ok(())
    }

    async fn attempt(
        &self,
        call: &Call,
        credential: &str,
        authorization: &Secret,
        until: Instant,
    ) -> Result<Response, Error> {
        let late = || Error::Timeout { doing: call.doing.clone(), after: self.timeouts.total };
        let permit = timeout_at(until, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(late()) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let url = call.url.as_str();
        let tag = call.conditional.then(|| self.etags.tag(credential, url)).flatten();
        let request = |tag: Option<String>| {
            let mut headers = vec![
                ("accept", "application/vnd.github+json".to_owned()),
                ("x-github-api-version", VERSION.to_owned()),
            ];
            headers.extend(tag.map(|tag| ("if-none-match", tag)));
            Request {
                doing: call.doing.clone(),
                method: call.method.clone(),
                url: call.url.clone(),
                authorization: Some(authorization.clone()),
                headers,
                body: call.body.clone(),
                deadline: left.min(self.timeouts.request),
                max_body: MAX_BODY,
            }
        };
        let response = self.http.send(request(tag)).await?;
        if !call.conditional {
            return Ok(response);
        }
        match self.etags.settle(credential, url, response) {
            Some(response) => Ok(response),
            // It was forgotten in the meantime.
            None => self.http.send(request(None)).await,
        }
    }
}
