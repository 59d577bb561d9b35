//! The typed client: the same resources as the router, from the other side.

mod caches;
mod error;
mod events;
mod exec;
mod follow;
mod host;
mod hosts;
mod images;
mod jobs;
mod live;
mod machines;
mod pools;
pub(crate) mod sse;
mod status;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;

pub use error::ClientError;
pub use exec::{RemoteExec, RemoteInput, RemoteOutput};
pub use jobs::LogEvent;
pub use live::LiveEvent;

/// The result of every call.
pub type Result<T> = std::result::Result<T, ClientError>;
/// A followed answer; it ends after the first error.
pub type ClientStream<T> = BoxStream<'static, Result<T>>;

/// Until a connection must stand.
const CONNECT: Duration = Duration::from_secs(5);
/// Until a plain call must be answered whole; longer than the server's own deadline, whose error says more.
const CALL: Duration = Duration::from_secs(60);
/// Largest plain answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket.
    Socket(PathBuf),
    /// `http://host:port` or `https://host`, without a path.
    Url(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// A connection to one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    target: Target,
    base: String,
    /// The host of the cluster that is to answer, if it is another one.
    on: Option<String>,
}

impl Client {
    /// Makes a client; nothing is sent yet. The token is for TCP.
    pub fn new(target: Target, token: Option<&str>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
                ClientError::setup(
                    &target,
                    "the token contains characters that a token \
                     cannot have",
                )
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // HTTP/1.1 alone, because `exec` upgrades its connection; no proxy, because a token must not meet one.
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            // Well before the server closes it: what is sent at that moment would be lost.
            .pool_idle_timeout(crate::listen::HEAD / 3)
            .user_agent(concat!("fireactions/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers);
        let base = match &target {
            Target::Socket(path) => {
                // No TLS goes over it, and reading the host's authorities takes longer than most questions.
                builder = builder.unix_socket(path.as_path()).tls_certs_only([]);
                "http://localhost".to_owned()
            }
            Target::Url(url) => url.trim_end_matches('/').to_owned(),
        };
        let http = builder.build().map_err(|error| ClientError::setup(&target, error::chain(&error)))?;
        Ok(Self { http, target, base, on: None })
    }

    /// Where the server is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The same, but another host of the cluster answers: the server passes on what it is asked.
    #[must_use]
    pub fn on(&self, host: &str) -> Self {
        Self { on: Some(host.to_owned()), ..self.clone() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let base = &self.base;
        let url = match (&self.on, path.strip_prefix("/api/v1/")) {
            (Some(host), Some(rest)) => format!("{base}/api/v1/hosts/{host}/{rest}"),
            _ => format!("{base}{path}"),
        };
        self.http.request(method, url)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Sends and waits for the head of a successful answer.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let answer = self.exchange(request).await?;
        if answer.status().is_success() || answer.status() == reqwest::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let status = answer.status();
        let body = tokio::time::timeout(CALL, self.whole(answer))
            .await
            .map_err(|_| self.protocol(format!("{status} without its body")))??;
        Err(match serde_json::from_slice::<crate::ErrorBody>(&body) {
            Ok(body) => ClientError::Refused(body.error),
            Err(_) if is_away(status) => ClientError::Away { target: self.target.clone(), status },
            Err(_) => self.protocol(format!("{status} with a body that is not from fireactions")),
        })
    }

    /// Sends and waits for the head of an answer. A server that is replaced may end a kept connection in the moment
    /// in which a request is written to it; one that only looks is then sent once more, by a new connection.
    async fn exchange(&self, request: RequestBuilder) -> Result<Response> {
        let again = request.try_clone().filter(only_looks);
        let broken = match request.send().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        match again {
            Some(again) if !broken.is_connect() && !broken.is_timeout() => {
                again.send().await.map_err(|error| self.broken(&error))
            }
            _ => Err(self.broken(&broken)),
        }
    }

    /// As [`Client::send`], for answers that come whole and soon.
    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let answer = self.send(request.timeout(CALL)).await?;
        self.decode(answer).await
    }

    async fn decode<T: DeserializeOwned>(&self, answer: Response) -> Result<T> {
        let body = self.whole(answer).await?;
        serde_json::from_slice(&body)
            .map_err(|error| self.protocol(format!("JSON that cannot be read: {error}")))
    }

    async fn whole(&self, answer: Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut chunks = answer.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.broken(&error))?;
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.protocol(format!("more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn bytes(&self, answer: Response) -> ClientStream<Bytes> {
        let client = self.clone();
        answer.bytes_stream().map_err(move |error| client.broken(&error)).boxed()
    }

    fn broken(&self, error: &reqwest::Error) -> ClientError {
        ClientError::transport(&self.target, error)
    }

    fn protocol(&self, message: impl Into<String>) -> ClientError {
        ClientError::Protocol { target: self.target.clone(), message: message.into() }
    }
}

/// What reverse proxies answer whose server is away.
fn is_away(status: reqwest::StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

fn only_looks(request: &RequestBuilder) -> bool {
    let built = request.try_clone().and_then(|request| request.build().ok());
    built.is_some_and(|request| *request.method() == Method::GET)
}
