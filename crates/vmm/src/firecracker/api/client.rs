//! Sending requests.

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fireactions_model::ExponentialBackoff;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::request::Request;
use super::{ApiError, GetVersion, MAX_BODY, Version, text};

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Longest head of an answer, in bytes; hyper takes no less than 8 KiB.
const MAX_HEAD: usize = 8 << 10;

/// How long an ordinary request may take. Firecracker answers within a millisecond; the rest is a busy host.
const DEADLINE: Duration = Duration::from_secs(10);

/// Pauses between attempts to connect. Firecracker listens about 10 ms after its start.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const PAUSES: ExponentialBackoff = ExponentialBackoff::new(FIRST_PAUSE, Duration::from_millis(50));

/// A way to the API socket. Its directory may belong to a hostile user, so how it is reached is the caller's choice.
#[async_trait]
pub trait Connect: Debug + Send + Sync + 'static {
    /// Makes a new connection.
    async fn connect(&self) -> io::Result<UnixStream>;
}

/// A socket in a directory that nobody hostile can write to.
#[async_trait]
impl Connect for PathBuf {
    async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self).await
    }
}

/// A Firecracker that answers, and its version.
///
/// Each request has a connection of its own, because a machine is asked a dozen things when it starts and hardly
/// anything later: at rest there is no descriptor, buffer or task. Dropping a request's future drops its connection;
/// Firecracker may carry the request out all the same.
#[derive(Debug)]
pub struct Client {
    connect: Box<dyn Connect>,
    version: Version,
}

impl Client {
    /// Waits until Firecracker answers. Its socket is there before it listens, so attempts go on until one succeeds.
    /// `deadline` is for all of it.
    ///
    /// Fails with [`ApiError::NotReady`] when time is up, with [`ApiError::Connect`] at once when the socket cannot be
    /// used, and with [`ApiError::TooOld`].
    pub async fn ready(connect: impl Connect, deadline: Duration) -> Result<Self, ApiError> {
        let until = Instant::now() + deadline;
        let mut client = Self { connect: Box::new(connect), version: Version::OLDEST };
        client.until_connected(until, deadline).await?;
        let left = until.saturating_duration_since(Instant::now());
        let answer = client.send_within(&GetVersion, left.max(FIRST_PAUSE)).await?;
        client.version =
            answer.firecracker_version.parse().map_err(|error: super::version::VersionError| {
                ApiError::Protocol { request: GetVersion.name(), reason: error.to_string() }
            })?;
        if client.version < Version::OLDEST {
            return Err(ApiError::TooOld(client.version));
        }
        Ok(client)
    }

    async fn until_connected(&self, until: Instant, deadline: Duration) -> Result<(), ApiError> {
        let mut backoff = PAUSES;
        loop {
            let error = match timeout_at(until, self.connect.connect()).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if passes(&error) => error,
                Ok(Err(error)) => return Err(ApiError::Connect(error)),
                Err(_) => return Err(ApiError::NotReady { deadline, last: io::ErrorKind::TimedOut.into() }),
            };
            let next = backoff.failed(rand::random());
            if Instant::now() + next >= until {
                return Err(ApiError::NotReady { deadline, last: error });
            }
            sleep(next).await;
        }
    }

    /// The version that runs.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Sends one request and gives its answer, within ten seconds.
    pub async fn send<R: Request>(&self, request: &R) -> Result<R::Answer, ApiError> {
        self.send_within(request, DEADLINE).await
    }

    /// The same with another deadline, for what takes its time: making a snapshot writes all of the guest's memory.
    pub async fn send_within<R: Request>(
        &self,
        request: &R,
        deadline: Duration,
    ) -> Result<R::Answer, ApiError> {
        request.check(self.version)?;
        let body = body_of(request)?;
        let answer = timeout(deadline, self.exchange(request, body)).await;
        let answer = answer.map_err(|_| ApiError::Timeout { request: request.name(), deadline })??;
        serde_json::from_slice(&answer).map_err(|error| ApiError::Protocol {
            request: request.name(),
            reason: text::line(&format!("the body does not fit: {error}")),
        })
    }

    /// The body of a successful answer; `null` for an empty one.
    async fn exchange<R: Request>(&self, request: &R, body: Bytes) -> Result<Bytes, ApiError> {
        let protocol =
            |error: &dyn Error| ApiError::Protocol { request: request.name(), reason: reason(error) };
        let stream = self.connect.connect().await.map_err(ApiError::Connect)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(32)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| protocol(&error))?;
        let message = hyper::Request::builder()
            .method(R::METHOD.name())
            .uri(request.path())
            .header(HOST, "localhost")
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| protocol(&error))?;
        let answer = async {
            let answer = sender.send_request(message).await.map_err(|error| protocol(&error))?;
            let status = answer.status();
            let too_large = || ApiError::TooLarge { request: request.name(), limit: MAX_ANSWER };
            if answer.body().size_hint().lower() > MAX_ANSWER as u64 {
                return Err(too_large());
            }
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() { too_large() } else { protocol(&*error) }
            })?;
            Ok((status, body.to_bytes()))
        };
        // The connection is driven here and not by a task, so that giving up leaves nothing behind.
        tokio::pin!(answer);
        let (status, body) = tokio::select! {
            biased;
            answer = &mut answer => answer?,
            _ended = connection => answer.await?,
        };
        match status.as_u16() {
            200..=299 if body.is_empty() => Ok(Bytes::from_static(b"null")),
            200..=299 => Ok(body),
            status @ 400..=599 => {
                Err(ApiError::Refused { request: request.name(), status, fault: fault(&body) })
            }
            status => {
                Err(ApiError::Protocol { request: request.name(), reason: format!("the status is {status}") })
            }
        }
    }
}

/// Whether a failure to connect may pass: the socket is not there yet, nobody listens yet, or the backlog is full.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock
    )
}

/// The body of a request, within Firecracker's limit.
fn body_of<R: Request>(request: &R) -> Result<Bytes, ApiError> {
    if !R::METHOD.has_body() {
        return Ok(Bytes::new());
    }
    let body = serde_json::to_vec(request).map_err(|error| request.invalid(error.to_string()))?;
    if body.len() > MAX_BODY {
        return Err(request.invalid(format!(
            "it has {} bytes and Firecracker takes {MAX_BODY}; make the metadata smaller",
            body.len()
        )));
    }
    Ok(body.into())
}

/// Firecracker's own words for why it refused.
fn fault(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Fault {
        fault_message: String,
    }
    let said = match serde_json::from_slice::<Fault>(body) {
        Ok(fault) => text::line(&fault.fault_message),
        Err(_) => text::line(&String::from_utf8_lossy(body)),
    };
    if said.is_empty() { "it gave no reason".into() } else { said }
}

/// An error and what is behind it, in one line.
fn reason(error: &dyn Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !reason.contains(&more) {
            reason = format!("{reason}: {more}");
        }
        source = error.source();
    }
    text::line(&reason)
}
