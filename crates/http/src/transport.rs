//! One request: deadlines, bounds, TLS and proxy.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fireactions_model::{Secret, is_on_this_host, is_private};
use http_body_util::BodyExt as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Proxy};
use url::{Origin, Url};

use crate::{Error, Response, plain};

/// A connection that does not come about in this time will not.
const CONNECT: Duration = Duration::from_secs(10);

/// How a server is reached.
pub struct Connection<'a> {
    /// The server's address.
    pub url: &'a Url,
    /// Certificates of further authorities, PEM.
    pub ca_pem: Option<&'a [u8]>,
    /// The proxy; otherwise the usual environment variables name it. It may have a user and a password.
    pub proxy: Option<&'a Url>,
    /// Whether requests to this server may go without TLS, where everybody on the way can read the credentials.
    pub insecure_http: bool,
    /// Whether the server is spoken to in HTTP/2 alone, also without TLS: gRPC's servers know no other.
    pub http2: bool,
    /// Sent with each request. Whatever is in them is a secret.
    pub headers: HeaderMap,
}

impl<'a> Connection<'a> {
    /// With TLS by the usual authorities, and the proxy that the environment names.
    pub fn new(url: &'a Url) -> Self {
        let headers = HeaderMap::new();
        Self { url, ca_pem: None, proxy: None, insecure_http: false, http2: false, headers }
    }
}

/// The client under everything that talks to a forge, or to a collector of traces. Clones share its connections.
#[derive(Clone)]
pub struct Http {
    client: Client,
    /// Where requests may go without TLS, apart from this host itself.
    insecure: Option<Origin>,
    /// Requests so far.
    sent: Arc<AtomicU64>,
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// For errors: what is being done, such as `list the runners of acme`.
    pub doing: String,
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// The whole value of the header.
    pub authorization: Option<Secret>,
    /// Further headers; a value that cannot be in a header is an error.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent.
    pub body: Option<Body>,
    /// For the connection, the request and the whole answer.
    pub deadline: Duration,
    /// Most bytes of the answer.
    pub max_body: usize,
}

/// What is sent with a request.
#[derive(Clone)]
pub enum Body {
    /// As JSON.
    Json(serde_json::Value),
    /// As it is.
    Bytes {
        /// The header of this name.
        content_type: &'static str,
        /// The bytes.
        bytes: Bytes,
    },
}

// URLs of message queues, tokens and configurations are secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({}: {})", self.method, self.doing)
    }
}

impl Http {
    /// A client for one server.
    ///
    /// # Errors
    ///
    /// [`Error::Settings`]: certificates or a proxy that are none.
    pub fn new(connection: &Connection<'_>) -> Result<Self, Error> {
        let mut builder = Client::builder()
            .user_agent(concat!("fireactions/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .pool_idle_timeout(Duration::from_secs(60))
            // Credentials go where they belong and nowhere else.
            .redirect(Policy::none())
            .referer(false);
        if let Some(pem) = connection.ca_pem {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|e| Error::Settings(format!("the CA certificates are not PEM: {}", causes(&e))))?;
            if certificates.is_empty() {
                return Err(Error::Settings("the file of CA certificates contains no certificate".into()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some(proxy) = connection.proxy {
            let proxy = Proxy::all(proxy.clone())
                .map_err(|_| Error::Settings("the proxy's address is not valid".into()))?;
            builder = builder.proxy(proxy);
        } else if is_on_this_host(connection.url) {
            // Loopback is never behind a proxy that the environment names.
            builder = builder.no_proxy();
        }
        if connection.http2 {
            builder = builder.http2_prior_knowledge();
        }
        let mut headers = connection.headers.clone();
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        let client = builder
            .default_headers(headers)
            .build()
            .map_err(|e| Error::Settings(format!("cannot create an HTTP client: {}", causes(&e))))?;
        let insecure = connection.insecure_http.then(|| connection.url.origin());
        Ok(Self { client, insecure, sent: Arc::default() })
    }

    /// Requests so far, of all clones.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends a request once and reads the whole answer. Redirects are answers.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Interrupted`], [`Error::Timeout`], or [`Error::Unexpected`] when the answer is
    /// too long or the URL is one to which no credential is sent.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let (doing, deadline) = (request.doing.clone(), request.deadline);
        let late = Error::Timeout { doing, after: deadline };
        tokio::time::timeout(deadline, self.exchange(request)).await.unwrap_or(Err(late))
    }

    async fn exchange(&self, request: Request) -> Result<Response, Error> {
        let Request { doing, method, url, authorization, headers, body, max_body, .. } = request;
        let unexpected = |why: String| Error::Unexpected { doing: doing.clone(), why };
        if !is_private(&url) && self.insecure.as_ref() != Some(&url.origin()) {
            return Err(unexpected("its address does not use TLS, so nothing was sent".into()));
        }
        let mut sent = self.client.request(method, url);
        for (name, value) in headers {
            let value = HeaderValue::try_from(value)
                .map_err(|_| unexpected(format!("the value of {name} cannot be sent in a header")))?;
            sent = sent.header(name, value);
        }
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::try_from(authorization.expose()).map_err(|_| {
                Error::Credential("it contains characters that a credential cannot have".into())
            })?;
            value.set_sensitive(true);
            sent = sent.header(AUTHORIZATION, value);
        }
        match body {
            Some(Body::Json(value)) => sent = sent.json(&value),
            Some(Body::Bytes { content_type, bytes }) => {
                sent = sent.header(CONTENT_TYPE, content_type).body(bytes);
            }
            None => {}
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut answer = sent.send().await.map_err(|e| broken(&doing, &e))?;
        let status = answer.status();
        let headers = std::mem::take(answer.headers_mut());
        let mut body = reqwest::Body::from(answer);
        let (mut bytes, mut trailers) = (Vec::new(), HeaderMap::new());
        while let Some(frame) = body.frame().await {
            match frame.map_err(|e| broken(&doing, &e))?.into_data() {
                Ok(chunk) if bytes.len() + chunk.len() > max_body => {
                    return Err(unexpected(format!("it is longer than the limit of {max_body} bytes")));
                }
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Ok(Response { doing, status, headers, body: bytes.into(), trailers })
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
    if text.is_empty() { "the cause is unknown".into() } else { plain(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a request to `to` by the client of the server at `url`.
    async fn sends(url: &str, insecure_http: bool, to: &str) -> (Result<Response, Error>, u64) {
        let url = url.parse().unwrap();
        let http = Http::new(&Connection { insecure_http, ..Connection::new(&url) }).unwrap();
        let request = Request {
            doing: "try".into(),
            method: Method::GET,
            url: to.parse().unwrap(),
            authorization: Some(Secret::new("t0p")),
            headers: Vec::new(),
            body: None,
            deadline: Duration::from_secs(30),
            max_body: 1,
        };
        let outcome = http.send(request).await;
        (outcome, http.sent())
    }

    #[tokio::test]
    async fn nothing_goes_without_tls_where_that_is_not_allowed() {
        for (url, insecure_http, to) in [
            ("https://git.example.org", false, "http://git.example.org/"),
            ("https://git.example.org", true, "http://git.example.org/"),
            ("http://git.example.org", false, "http://git.example.org/"),
            ("http://git.example.org", true, "http://other.example.org/"),
            ("http://git.example.org", true, "http://git.example.org:8080/"),
        ] {
            let (outcome, sent) = sends(url, insecure_http, to).await;
            assert!(matches!(outcome, Err(Error::Unexpected { .. })), "{url} {to}: {outcome:?}");
            assert_eq!(sent, 0);
        }
    }

    #[tokio::test]
    async fn a_credential_that_fits_no_header_is_told_without_it() {
        let url: Url = "http://127.0.0.1:9".parse().unwrap();
        let http = Http::new(&Connection::new(&url)).unwrap();
        let request = Request {
            doing: "try".into(),
            method: Method::GET,
            url,
            authorization: Some(Secret::new("a\nb")),
            headers: Vec::new(),
            body: None,
            deadline: Duration::from_secs(30),
            max_body: 1,
        };
        let error = http.send(request).await.unwrap_err();
        assert!(matches!(error, Error::Credential(_)) && !error.to_string().contains("a\nb"), "{error}");
    }
}
