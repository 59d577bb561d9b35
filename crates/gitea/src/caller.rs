//! A call to a server: the token, tries and bounds. Everything goes this way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fireactions_http::{Body, Http, Request, Response, SecretSource, Timeouts, read_secret};
use fireactions_model::{ExponentialBackoff, Secret};
use reqwest::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::meaning::{failure, is_locked};
use crate::{Error, Kind, Settings};

/// Requests on their way at once: a small server is not to notice.
const AT_ONCE: usize = 8;
/// The longest wait between two tries, in first waits.
const LONGEST: u32 = 32;
/// Most bytes of an answer. A page of fifty jobs with their steps is some hundred kilobytes; Forgejo's queue comes whole, and
/// ten thousand jobs are about three megabytes.
const MAX_BODY: usize = 16 << 20;

/// Who signs a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// The API token.
    Token,
    /// Nobody: what proves the right is in the body.
    No,
}

/// What is called.
#[derive(Clone)]
pub(crate) struct Call {
    /// For errors: `list the runners of orgs/acme`.
    pub doing: String,
    pub method: Method,
    pub url: Url,
    pub body: Option<serde_json::Value>,
    /// Doing it twice does the same as doing it once.
    pub repeatable: bool,
    pub signed: Signed,
    /// Further headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// A 5xx that is an answer all the same.
    pub answered: fn(&Response) -> bool,
}

impl Call {
    pub(crate) fn get(doing: String, url: Url) -> Self {
        Self {
            doing,
            method: Method::GET,
            url,
            body: None,
            repeatable: true,
            signed: Signed::Token,
            headers: &[],
            answered: |_| false,
        }
    }

    pub(crate) fn post(doing: String, url: Url, body: Option<serde_json::Value>) -> Self {
        Self { method: Method::POST, body, repeatable: false, ..Self::get(doing, url) }
    }
}

/// Sends calls.
pub(crate) struct Caller {
    kind: Kind,
    http: Http,
    permits: Semaphore,
    timeouts: Timeouts,
    source: Option<SecretSource>,
    /// The token as it was read last.
    token: Mutex<Option<Secret>>,
}

impl Caller {
    pub(crate) fn new(settings: &Settings, timeouts: Timeouts) -> Result<Self, Error> {
        let http = Http::new(&settings.connection()).map_err(|error| Error::of(settings.kind, error))?;
        Ok(Self {
            kind: settings.kind,
            http,
            permits: Semaphore::new(AT_ONCE),
            timeouts,
            source: settings.token.clone(),
            token: Mutex::default(),
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// When a call that begins now must be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeouts.total
    }

    /// What a call that waited for another beyond its deadline says.
    pub(crate) fn late(&self, doing: String) -> Error {
        Error::Timeout { forge: self.kind, doing, after: self.timeouts.total }
    }

    /// Requests sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.http.sent()
    }

    fn kept(&self) -> MutexGuard<'_, Option<Secret>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is an API token.
    pub(crate) fn has_token(&self) -> bool {
        self.source.is_some()
    }

    /// The token that is kept, or as it is now.
    async fn token(&self, doing: &str) -> Result<Secret, Error> {
        let Some(source) = &self.source else {
            let why = format!(
                "no API token is set for this {}, and a registration token can only register runners",
                self.kind
            );
            return Err(Error::Unsupported { doing: doing.to_owned(), why });
        };
        if let Some(kept) = self.kept().clone() {
            return Ok(kept);
        }
        let token =
            read_secret(source, "the API token").await.map_err(|error| Error::of(self.kind, error))?;
        *self.kept() = Some(token.clone());
        Ok(token)
    }

    /// Sends a call until it has an answer, within the usual time. An answer of whatever status is one, but 5xx and 429. A
    /// token that is not accepted is read again, once: it may have been replaced.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response, Error> {
        let until = self.deadline();
        if call.signed == Signed::No {
            return self.tries(call, None, until).await;
        }
        let token = self.token(&call.doing).await?;
        let response = self.tries(call, Some(&token), until).await?;
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        *self.kept() = None;
        let renewed = self.token(&call.doing).await?;
        if renewed == token { Ok(response) } else { self.tries(call, Some(&renewed), until).await }
    }

    /// What an answer other than the expected one means.
    pub(crate) fn failure(&self, call: &Call, response: &Response) -> Error {
        failure(self.kind, response, &call.url)
    }

    async fn tries(&self, call: &Call, token: Option<&Secret>, until: Instant) -> Result<Response, Error> {
        let first = self.timeouts.backoff;
        let mut backoff = ExponentialBackoff::new(first, first * LONGEST);
        loop {
            let (error, again) = match self.attempt(call, token, until).await {
                Ok(response) if response.status.is_success() || (call.answered)(&response) => {
                    return Ok(response);
                }
                Ok(response) => match self.failure(call, &response) {
                    error @ Error::Server { .. } => (error, call.repeatable || is_locked(&response)),
                    // Nothing was done.
                    error @ Error::RateLimited { .. } => (error, true),
                    _ => return Ok(response),
                },
                // Nothing was sent.
                Err(error @ Error::Unreachable { .. }) => (error, true),
                Err(error @ (Error::Interrupted { .. } | Error::Timeout { .. })) => (error, call.repeatable),
                Err(error) => return Err(error),
            };
            let delay = backoff.failed(rand::random());
            if !again || backoff.failures() >= self.timeouts.attempts {
                return Err(error);
            }
            let delay = delay.max(error.retry_after().unwrap_or_default());
            if Instant::now() + delay >= until {
                return Err(error);
            }
            tracing::debug!(%error, ?delay, "{} failed a request; trying again", self.kind);
            sleep(delay).await;
        }
    }

    async fn attempt(&self, call: &Call, token: Option<&Secret>, until: Instant) -> Result<Response, Error> {
        let late = || self.late(call.doing.clone());
        let Ok(Ok(_permit)) = timeout_at(until, self.permits.acquire()).await else { return Err(late()) };
        let left = until.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(late());
        }
        let headers = [("accept", "application/json")].iter().chain(call.headers);
        let request = Request {
            doing: call.doing.clone(),
            method: call.method.clone(),
            url: call.url.clone(),
            authorization: token.map(|token| Secret::new(format!("token {}", token.expose().trim()))),
            headers: headers.map(|(name, value)| (*name, (*value).to_owned())).collect(),
            body: call.body.clone().map(Body::Json),
            deadline: left.min(self.timeouts.request),
            max_body: MAX_BODY,
        };
        self.http.send(request).await.map_err(|error| Error::of(self.kind, error))
    }
}
