//! One request: deadlines, bounds, TLS and proxy.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fireactions_model::{Secret, is_on_this_host, is_private};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Proxy};
use url::Url;

use crate::error::plain;
use crate::response::Response;
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

// URLs of message queues, tokens and configurations are secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({}: {})", self.method, self.doing)
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
        } else if is_on_this_host(&settings.url) {
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
