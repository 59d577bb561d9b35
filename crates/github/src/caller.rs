//! A call to GitHub's services: who signs it, rate limits, tries and conditional requests. Everything goes this way.

use std::time::Duration;

use fireactions_http::{Body, Http, Request, Response};
use fireactions_model::{ExponentialBackoff, Secret};
use reqwest::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::etags::Etags;
use crate::limits::Limits;
use crate::response::Meaning as _;
use crate::{Error, Settings, Timeouts};

/// Requests on their way at once. GitHub allows a hundred to all who use the credential.
const AT_ONCE: usize = 32;
/// The longest wait between two tries, in first waits.
const LONGEST: u32 = 32;

/// Which of GitHub's services is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// The REST API.
    Rest,
    /// The Actions service behind scale sets.
    Actions,
}

impl Api {
    /// Most bytes of an answer. A page of a hundred jobs with their steps is about a megabyte.
    const fn max_body(self) -> usize {
        match self {
            Self::Rest => 16 << 20,
            Self::Actions => 4 << 20,
        }
    }

    /// The versions that this crate is written against.
    fn headers(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Rest => vec![
                ("accept", "application/vnd.github+json".to_owned()),
                ("x-github-api-version", "2022-11-28".to_owned()),
            ],
            Self::Actions => vec![("accept", format!("application/json; api-version={ACTIONS_VERSION}"))],
        }
    }
}

/// The version that the Actions service's protocol has had since it is used outside of GitHub.
pub(crate) const ACTIONS_VERSION: &str = "6.0-preview";

/// What is called.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub api: Api,
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
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// A question that stays open until there is something to tell: how long, at most.
    pub poll: Option<Duration>,
}

impl Call {
    pub(crate) fn get(doing: String, kind: &'static str, url: Url) -> Self {
        Self {
            api: Api::Rest,
            doing,
            kind,
            method: Method::GET,
            url,
            body: None,
            repeatable: true,
            conditional: false,
            headers: Vec::new(),
            poll: None,
        }
    }

    pub(crate) fn conditional(self) -> Self {
        Self { conditional: true, ..self }
    }
}

/// A call with the credential that signs it.
pub(crate) struct Signed {
    pub call: Call,
    /// Whose rate limits count.
    pub credential: String,
    /// The value of the `Authorization` header.
    pub authorization: Secret,
}

/// Who signs a call.
pub(crate) trait Signer {
    /// The call with the credential that there is, or with a new one.
    async fn sign(&mut self, until: Instant) -> Result<Signed, Error>;

    /// GitHub answered 401 to what was signed last: the next is to be signed with another credential, if there is one.
    async fn renew(&mut self, refused: &Response, until: Instant) -> Result<(), Error>;
}

/// Sends calls.
pub(crate) struct Caller {
    http: Http,
    pub(crate) limits: Limits,
    etags: Etags,
    permits: Semaphore,
    pub(crate) timeouts: Timeouts,
}

impl Caller {
    pub(crate) fn new(settings: &Settings, timeouts: Timeouts) -> Result<Self, Error> {
        Ok(Self {
            http: Http::new(&settings.connection())?,
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

    /// Requests sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.http.sent()
    }

    /// Sends what `signer` signs, within the usual time.
    pub(crate) async fn ask(&self, signer: impl Signer) -> Result<Response, Error> {
        self.ask_until(signer, self.deadline()).await
    }

    /// Sends what `signer` signs until it has an answer, at the latest `until`. A 401 is met by another credential, once.
    pub(crate) async fn ask_until(&self, mut signer: impl Signer, until: Instant) -> Result<Response, Error> {
        let mut renewed = false;
        loop {
            let signed = signer.sign(until).await?;
            let response = self.send(&signed, until).await?;
            if response.status != StatusCode::UNAUTHORIZED || renewed {
                return Ok(response);
            }
            renewed = true;
            signer.renew(&response, until).await?;
        }
    }

    /// Sends a call until it has an answer, at the latest `until`. A wait that a rate limit asks for is waited for when
    /// there is time for it, otherwise it is the caller's. An answer of whatever status is one, but 5xx.
    pub(crate) async fn send(&self, signed: &Signed, until: Instant) -> Result<Response, Error> {
        let Signed { call, credential, .. } = signed;
        let first = self.timeouts.backoff;
        let mut backoff = ExponentialBackoff::new(first, first * LONGEST);
        let mut refusals = 0;
        loop {
            self.wait_for_limits(call, credential, until).await?;
            let (error, again) = match self.attempt(signed, until).await {
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
            let delay = backoff.failed(rand::random());
            if !again || backoff.failures() >= self.timeouts.attempts {
                return Err(error);
            }
            let delay = delay.max(error.retry_after().unwrap_or_default());
            if Instant::now() + delay >= until {
                return Err(error);
            }
            tracing::debug!(%error, ?delay, "a request to GitHub failed; trying again");
            sleep(delay).await;
        }
    }

    async fn wait_for_limits(&self, call: &Call, credential: &str, until: Instant) -> Result<(), Error> {
        while let Some(block) = self.limits.blocked(credential, call.kind) {
            if Instant::now() + block.after >= until {
                let (after, secondary) = (block.after, block.secondary);
                return Err(Error::RateLimited { doing: call.doing.clone(), after, secondary });
            }
            tracing::info!(credential, after = ?block.after, secondary = block.secondary, "waiting for GitHub's rate limit");
            // Others wait for the same moment.
            let jitter = block.after.mul_f64(rand::random_range(0.0..0.1)).min(Duration::from_secs(5));
            sleep(block.after + jitter).await;
        }
        Ok(())
    }

    async fn attempt(&self, signed: &Signed, until: Instant) -> Result<Response, Error> {
        let Signed { call, credential, authorization } = signed;
        let late = || Error::Timeout { doing: call.doing.clone(), after: self.timeouts.total };
        // A question that stays open keeps no place from others.
        let _permit = match call.poll {
            Some(_) => None,
            None => match timeout_at(until, self.permits.acquire()).await {
                Ok(Ok(permit)) => Some(permit),
                _ => return Err(late()),
            },
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let url = call.url.as_str();
        let tag = call.conditional.then(|| self.etags.tag(credential, url)).flatten();
        let request = |tag: Option<String>| {
            let mut headers = call.api.headers();
            headers.extend(call.headers.iter().cloned());
            headers.extend(tag.map(|tag| ("if-none-match", tag)));
            Request {
                doing: call.doing.clone(),
                method: call.method.clone(),
                url: call.url.clone(),
                authorization: Some(authorization.clone()),
                headers,
                body: call.body.clone().map(Body::Json),
                deadline: left.min(call.poll.unwrap_or(self.timeouts.request)),
                max_body: call.api.max_body(),
            }
        };
        let response = self.http.send(request(tag)).await?;
        if !call.conditional {
            return Ok(response);
        }
        match self.etags.settle(credential, url, response) {
            Some(response) => Ok(response),
            // It was forgotten in the meantime.
            None => Ok(self.http.send(request(None)).await?),
        }
    }
}
