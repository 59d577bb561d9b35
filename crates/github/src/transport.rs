//! One request and its answer: deadlines, bounds, TLS, proxy, and what an answer other than success means.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fireactions_model::Secret;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Proxy, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::plain;
use crate::settings::{is_loopback, is_private};
use crate::{Error, Settings};

/// A connection that does not come about in this time will not.
const CONNECT: Duration = Duration::from_secs(10);

/// The client under everything that talks to GitHub. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    /// Requests so far.
    sent: Arc<AtomicU64>,
}

/// A request.
#[derive(Clone)]
pub(crate) struct Request {
    /// For errors: what is being done, such as `list the runners of acme`.
    pub doing: String,
    pub method: Method,
    pub url: Url,
    /// The whole value of the header.
    pub authorization: Option<Secret>,
    /// Further headers; a value that cannot be in a header is an error.
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<serde_json::Value>,
    /// For the connection, the request and the whole answer.
    pub deadline: Duration,
    /// Most bytes of the answer.
    pub max_body: usize,
}

/// A whole answer, of whatever status.
#[derive(Clone)]
pub(crate) struct Response {
    /// What the request was for.
    pub doing: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

// URLs of message queues, tokens and configurations are secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({}: {})", self.method, self.doing)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}: {}, {} bytes)", self.doing, self.status, self.body.len())
    }
}

impl Http {
    /// # Errors
    ///
    /// [`Error::Settings`]: certificates or a proxy that are none.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let mut builder = Client::builder()
            .user_agent(concat!("fireactions/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(60))
            // Credentials go where they belong and nowhere else.
            .redirect(Policy::none())
            .referer(false);
        if let Some(pem) = &settings.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|e| Error::Settings(format!("the CA certificates are not PEM: {}", causes(&e))))?;
            if certificates.is_empty() {
                return Err(Error::Settings("the file of CA certificates has no certificate in it".into()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some(proxy) = &settings.proxy {
            let proxy = Proxy::all(proxy.clone())
                .map_err(|_| Error::Settings("the proxy's address is not one".into()))?;
            builder = builder.proxy(proxy);
        } else if is_loopback(&settings.url) {
            // Loopback is never behind a proxy that the environment names.
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|e| Error::Settings(format!("cannot make an HTTP client: {}", causes(&e))))?;
        Ok(Self { client, sent: Arc::default() })
    }

    /// Requests so far, of all clones.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends a request once and reads the whole answer. Redirects are answers.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Interrupted`], [`Error::Timeout`], or [`Error::Unexpected`] when the answer is
    /// too long or the URL is one to which no credential is sent.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, Error> {
        let (doing, deadline) = (request.doing.clone(), request.deadline);
        let late = Error::Timeout { doing, after: deadline };
        tokio::time::timeout(deadline, self.exchange(request)).await.unwrap_or(Err(late))
    }

    async fn exchange(&self, request: Request) -> Result<Response, Error> {
        let Request { doing, method, url, authorization, headers, body, max_body, .. } = request;
        let unexpected = |why: String| Error::Unexpected { doing: doing.clone(), why };
        if !is_private(&url) {
            return Err(unexpected("GitHub names an address without TLS; nothing is sent there".into()));
        }
        let mut sent = self.client.request(method, url);
        for (name, value) in headers {
            let value = HeaderValue::try_from(value)
                .map_err(|_| unexpected(format!("the value of {name} cannot be sent in a header")))?;
            sent = sent.header(name, value);
        }
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::try_from(authorization.expose())
                .map_err(|_| Error::Credential("it has characters that no credential has".into()))?;
            value.set_sensitive(true);
            sent = sent.header(AUTHORIZATION, value);
        }
        if let Some(body) = &body {
            sent = sent.json(body);
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut answer = sent.send().await.map_err(|e| broken(&doing, &e))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| broken(&doing, &e))? {
            if bytes.len() + chunk.len() > max_body {
                return Err(unexpected(format!("it is longer than the {max_body} bytes that it may have")));
            }
            bytes.extend_from_slice(&chunk);
        }
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        Ok(Response { doing, status, headers, body: bytes.into() })
    }
}

fn broken(doing: &str, error: &reqwest::Error) -> Error {
    let (doing, why) = (doing.to_owned(), causes(error));
    if error.is_connect() {
        return Error::Unreachable { doing, why };
    }
    Error::Interrupted { doing, why }
}

/// The causes without the URL, which may be a secret.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    if text.is_empty() { "it cannot be said why".into() } else { plain(&text) }
}

impl Response {
    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; `what` is what it should be. A byte order mark is skipped: the Actions service sends one.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`]
    pub(crate) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, Error> {
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        serde_json::from_slice(body).map_err(|e| {
            // Where, not what: serde's message may repeat a secret.
            let why = match e.classify() {
                serde_json::error::Category::Data => {
                    format!("it is not {what} (line {}, column {})", e.line(), e.column())
                }
                _ => format!("it should be {what} and is no JSON"),
            };
            Error::Unexpected { doing: self.doing.clone(), why }
        })
    }

    /// When GitHub says it was: its clock, not ours.
    pub(crate) fn date(&self) -> Option<Timestamp> {
        http_date(self.header(DATE.as_str())?)
    }

    /// How long GitHub wants not to be asked, by `Retry-After`: seconds or a date. At most a day.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.header(RETRY_AFTER.as_str())?.trim();
        let seconds = text.parse::<u64>().ok().or_else(|| {
            let until = http_date(text)?.as_second();
            let now = self.date().unwrap_or_else(Timestamp::now).as_second();
            Some(u64::try_from(until - now).unwrap_or(0))
        })?;
        Some(Duration::from_secs(seconds.min(24 * 3600)))
    }

    /// What GitHub says in a body that is no success: `message` of the REST API and of the Actions service alike, with
    /// the first of the `errors` beside it.
    pub(crate) fn message(&self) -> String {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default, alias = "Message", alias = "errorMessage")]
            message: String,
            #[serde(default)]
            errors: serde_json::Value,
        }
        let Ok(body) = self.json::<Body>("an error") else { return format!("({})", self.status) };
        let detail = match body.errors.get(0) {
            Some(serde_json::Value::String(text)) => Some(text.as_str()),
            Some(other) => other["message"].as_str(),
            None => body.errors.as_str(),
        };
        let text = [Some(body.message.as_str()), detail];
        let text: Vec<&str> = text.into_iter().flatten().filter(|text| !text.is_empty()).collect();
        if text.is_empty() { format!("({})", self.status) } else { plain(&text.join(": ")) }
    }

    /// What an answer other than the expected one means.
    pub(crate) fn failure(&self) -> Error {
        let (doing, message, status) = (self.doing.clone(), self.message(), self.status.as_u16());
        if let Some((after, secondary)) = crate::limits::refusal(self) {
            return Error::RateLimited { doing, after, secondary };
        }
        match status {
            300..=399 => Error::Unexpected {
                doing,
                why: "GitHub answers that it is elsewhere now, which is not followed; an organization or repository that \
                      was renamed is set by its new name"
                    .into(),
            },
            401 => Error::Unauthorized { doing, message },
            403 => Error::Forbidden { doing, message },
            404 | 410 => Error::NotFound { doing, message },
            409 => Error::Conflict { doing, message },
            408 | 429 | 500..=599 => Error::Server { doing, status, message, after: self.retry_after() },
            400..=499 => Error::Refused { doing, status, message },
            _ => Error::Unexpected { doing, why: format!("the status is {}", self.status) },
        }
    }
}

/// RFC 9110's date, as everybody writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let status = StatusCode::from_u16(status).unwrap();
        Response { doing: "test".into(), status, headers, body: Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn json_with_and_without_a_byte_order_mark() {
        assert_eq!(response(200, &[], "\u{feff}[1]").json::<Vec<u8>>("numbers").unwrap(), [1]);
        assert_eq!(response(200, &[], "[1]").json::<Vec<u8>>("numbers").unwrap(), [1]);
        let error = response(200, &[], r#"["s3cret"]"#).json::<Vec<u8>>("numbers").unwrap_err().to_string();
        assert!(error.contains("not numbers") && !error.contains("s3cret"), "{error}");
        let error = response(200, &[], "<html>").json::<Vec<u8>>("numbers").unwrap_err().to_string();
        assert!(error.contains("no JSON"), "{error}");
    }

    #[test]
    fn messages_of_both_services() {
        let said = |body: &str| response(422, &[], body).message();
        assert_eq!(
            said(r#"{"message":"Validation Failed","errors":["bad label"]}"#),
            "Validation Failed: bad label"
        );
        assert_eq!(said(r#"{"message":"No","errors":[{"message":"taken","code":"x"}]}"#), "No: taken");
        assert_eq!(said(r#"{"message":"No","errors":"all of it"}"#), "No: all of it");
        assert_eq!(said("\u{feff}{\"typeName\":\"AgentExistsException\",\"message\":\"exists\"}"), "exists");
        assert_eq!(said("<html>"), "(422 Unprocessable Entity)");
        assert_eq!(said("{}"), "(422 Unprocessable Entity)");
    }

    #[test]
    fn statuses() {
        let failure = |status| response(status, &[], r#"{"message":"m"}"#).failure();
        assert!(matches!(failure(302), Error::Unexpected { .. }));
        assert!(matches!(failure(401), Error::Unauthorized { .. }));
        assert!(matches!(failure(403), Error::Forbidden { .. }));
        assert!(matches!(failure(404), Error::NotFound { .. }));
        assert!(matches!(failure(409), Error::Conflict { .. }));
        assert!(matches!(failure(422), Error::Refused { status: 422, .. }));
        assert!(matches!(failure(500), Error::Server { status: 500, .. }));
        assert!(matches!(failure(204), Error::Unexpected { .. }));
    }

    #[test]
    fn times_of_the_answer() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(response(200, &[date], "").date(), Some("1994-11-06T08:49:37Z".parse().unwrap()));
        assert_eq!(response(200, &[("date", "soon")], "").date(), None);
        let after = |value| response(503, &[date, ("retry-after", value)], "").retry_after();
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(after("Sun, 06 Nov 1994 08:40:37 GMT"), Some(Duration::ZERO));
        assert_eq!(after("99999999999"), Some(Duration::from_secs(86_400)));
        assert_eq!(after("-1"), None);
    }
}
