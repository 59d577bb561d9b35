//! HTTP under the registry protocol: who may be spoken to without TLS, proxies, deadlines, and what is tried again.

use std::time::Duration;

use fireactions_model::ExponentialBackoff;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, StatusCode, Url, header};
use serde::Deserialize;

use super::Repository;
use crate::{ImageError, ImagesConfig};

/// A registry asking for more patience than this is told to the caller instead.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How one attempt failed.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It may work the next time.
    Again { why: String, retry_after: Option<Duration> },
    /// It will not.
    Final(ImageError),
}

impl From<ImageError> for Attempt {
    fn from(error: ImageError) -> Self {
        Self::Final(error)
    }
}

impl Attempt {
    pub(super) fn from_reqwest(registry: &str, error: &reqwest::Error) -> Self {
        let why = explain(error);
        if error.is_redirect() || error.is_builder() {
            return Self::Final(ImageError::Protocol { registry: registry.to_string(), why });
        }
        if let Some(why) = no_trust(&why) {
            return Self::Final(ImageError::Tls { registry: registry.to_string(), why });
        }
        Self::Again { why, retry_after: None }
    }
}

/// What of TLS will fail the next time, too, and what can be done about it.
fn no_trust(why: &str) -> Option<String> {
    // rustls's words; its types are behind those of two other libraries.
    let (_, certificate) = why.split_once("invalid peer certificate: ").unwrap_or_default();
    if certificate.starts_with("UnknownIssuer") {
        return Some(
            "no authority that is trusted here has issued its certificate; put the certificate of its authority into \
             images.ca_file, or list the registry in images.insecure_registries to accept any certificate"
                .into(),
        );
    }
    if !certificate.is_empty() {
        return Some(format!("its certificate is not valid: {certificate}"));
    }
    why.contains("InvalidContentType").then(|| {
        "it does not use TLS; if the network path to it is safe, list it in images.insecure_registries".into()
    })
}

/// The causes, without the URL: signed URLs of a registry's storage are secrets.
fn explain(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    if error.is_timeout() {
        return "no answer within the deadline".into();
    }
    let mut text = String::from(if error.is_connect() { "cannot connect" } else { "the connection failed" });
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text.chars().take(400).collect()
}

/// Clients and the rule about TLS.
pub(super) struct Http {
    proxied: Client,
    /// For registries that may go without TLS: with it, any certificate is as good as none. Where they send us is checked as
    /// little; what comes from there is, by its digest.
    lenient: Client,
    /// The same for loopback, which is never behind a proxy.
    direct: Client,
    insecure: Vec<String>,
    /// For a registry to say what it speaks.
    patience: Duration,
}

impl Http {
    pub(super) fn new(config: &ImagesConfig) -> Result<Self, ImageError> {
        let insecure = config.insecure_registries.clone();
        let authorities = match &config.ca_pem {
            None => Vec::new(),
            Some(pem) => Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|found| !found.is_empty())
                .ok_or_else(|| ImageError::Internal("images.ca_file has no certificate in PEM".into()))?,
        };
        let build = |strict: bool, direct: bool| {
            let allowed = insecure.clone();
            let policy = Policy::custom(move |attempt| {
                if attempt.previous().len() > 10 {
                    return attempt.error("too many redirects");
                }
                match may_follow(&allowed, attempt.previous(), attempt.url()) {
                    Ok(()) => attempt.follow(),
                    Err(why) => attempt.error(why),
                }
            });
            let mut builder = Client::builder()
                .user_agent(concat!("fireactions/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(config.timeouts.connect)
                .read_timeout(config.timeouts.stall)
                .redirect(policy)
                // A layer is what its digest says, byte for byte.
                .no_gzip()
                .no_zstd()
                .no_brotli()
                .no_deflate()
                .tls_danger_accept_invalid_certs(!strict);
            if !authorities.is_empty() {
                builder = builder.tls_certs_merge(authorities.iter().cloned());
            }
            if direct {
                builder = builder.no_proxy();
            }
            builder
                .build()
                .map_err(|e| ImageError::Internal(format!("cannot create an HTTP client: {}", explain(&e))))
        };
        Ok(Self {
            proxied: build(true, false)?,
            lenient: build(false, false)?,
            direct: build(false, true)?,
            insecure,
            patience: config.timeouts.connect,
        })
    }

    /// What the URLs of the registry at `host[:port]` begin with. One that may go without TLS is asked what it speaks: it may use
    /// TLS all the same, as with Docker.
    pub(super) async fn base(&self, host: &str) -> String {
        let (plain, secure) = (format!("http://{host}"), format!("https://{host}"));
        if !self.plain_allowed(host) {
            return secure;
        }
        let ask = |base: &str| self.client(base).get(format!("{base}/v2/")).timeout(self.patience).send();
        match ask(&plain).await {
            // Servers with TLS call a request without it a bad one, or end the connection.
            Ok(answer) if answer.status() != StatusCode::BAD_REQUEST => plain,
            Err(error) if error.is_connect() || error.is_timeout() => plain,
            _ if ask(&secure).await.is_ok() => secure,
            _ => plain,
        }
    }

    /// Whether this `host[:port]` may be spoken to without TLS.
    pub(super) fn plain_allowed(&self, host: &str) -> bool {
        plain_allowed(&self.insecure, host)
    }

    pub(super) fn client(&self, url: &str) -> &Client {
        let host = Url::parse(url).map(|url| authority(&url)).unwrap_or_default();
        match () {
            () if is_loopback(&host) => &self.direct,
            () if self.plain_allowed(&host) => &self.lenient,
            () => &self.proxied,
        }
    }
}

/// Where a server may send us: not into the clear, and not to this host's own services, unless it is on this host.
fn may_follow(listed: &[String], previous: &[Url], to: &Url) -> Result<(), &'static str> {
    let host = authority(to);
    if to.scheme() != "https" && !plain_allowed(listed, &host) {
        return Err("redirected to a host without TLS that is not listed as insecure");
    }
    if is_this_host(&host) && !previous.iter().all(|from| is_this_host(&authority(from))) {
        return Err("redirected to this host itself, from elsewhere");
    }
    Ok(())
}

pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
}

fn plain_allowed(listed: &[String], host: &str) -> bool {
    is_loopback(host) || listed.iter().any(|entry| entry == host || entry == host_only(host))
}

fn host_only(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host_only(host).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a connection to this `host[:port]` ends on this host, by its name alone.
pub(super) fn is_this_host(host: &str) -> bool {
    let name = host_only(host).trim_matches(['[', ']']);
    is_loopback(host)
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| {
            let ip = ip.to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        })
}

/// Waits between attempts: exponential with jitter, but at least what the registry asks for.
pub(super) struct Retry {
    registry: String,
    /// Most attempts in a row.
    most: u32,
    delays: ExponentialBackoff,
}

impl Retry {
    /// `backoff`: see `Timeouts`.
    pub(super) fn new(repository: &Repository, backoff: Duration) -> Self {
        let delays = ExponentialBackoff::new(backoff, backoff * 64);
        Self { registry: repository.registry.clone(), most: repository.attempts, delays }
    }

    /// Something new arrived: the next failure is a first one.
    pub(super) fn progressed(&mut self) {
        self.delays.succeeded();
    }

    /// Returns when it is time for the next attempt, or the error when there is none.
    pub(super) async fn wait(&mut self, failure: Attempt) -> Result<(), ImageError> {
        let (why, retry_after) = match failure {
            Attempt::Final(error) => return Err(error),
            Attempt::Again { why, retry_after } => (why, retry_after),
        };
        let delay = self.delays.failed(rand::random());
        if self.delays.failures() >= self.most || retry_after.is_some_and(|asked| asked > RETRY_AFTER_MAX) {
            return Err(ImageError::Unreachable {
                registry: self.registry.clone(),
                why,
                attempts: self.delays.failures(),
                retry_after,
            });
        }
        let delay = delay.max(retry_after.unwrap_or_default());
        tracing::debug!(registry = self.registry, why, ?delay, "trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// Reads an answer's body into memory.
pub(super) async fn body(registry: &str, mut response: Response, max: u64) -> Result<Vec<u8>, Attempt> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Attempt::from_reqwest(registry, &e))? {
        if bytes.len() as u64 + chunk.len() as u64 > max {
            let why = format!("an answer is longer than the {max} bytes it may have");
            return Err(Attempt::Final(ImageError::Protocol { registry: registry.to_string(), why }));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Whether an answer is for people: it is not the registry's.
fn is_web_page(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

/// Refuses what is no answer of a registry, before it is taken for one.
pub(super) fn no_web_page(registry: &str, response: &Response) -> Result<(), Attempt> {
    if !is_web_page(response) {
        return Ok(());
    }
    let why = "it answered with a web page (text/html); is there a proxy or a login page in between?".into();
    Err(Attempt::Final(ImageError::Protocol { registry: registry.to_string(), why }))
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What an answer other than success means.
pub(super) async fn refusal(repository: &Repository, response: Response) -> Attempt {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok())
        .map(Duration::from_secs);
    let registry = repository.registry.clone();
    let page = is_web_page(&response);
    let text = body(&registry, response, 16 << 10).await.unwrap_or_default();
    let words = serde_json::from_slice::<Errors>(&text)
        .ok()
        .and_then(|parsed| parsed.errors.into_iter().next())
        .map(|error| format!(" ({:.40}: {:.160})", error.code, error.message).replace(char::is_control, " "))
        .unwrap_or_default();
    let page = if page { " with a web page; is there a proxy or a login page in between?" } else { "" };
    let why = format!("it answered {status}{words}{page}");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Attempt::Final(ImageError::Denied { registry, image: repository.name.clone(), why })
        }
        StatusCode::NOT_FOUND => {
            Attempt::Final(ImageError::NotFound { image: repository.name.clone(), at: registry, why })
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Attempt::Again { why, retry_after },
        status if status.is_server_error() => Attempt::Again { why, retry_after },
        _ => Attempt::Final(ImageError::Protocol { registry, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_on_this_host_sends_us_to_this_host() {
        let listed = vec!["registry.lan".to_string()];
        let url = |text: &str| Url::parse(text).unwrap();
        let allowed = |from: &[&str], to: &str| {
            let from: Vec<Url> = from.iter().map(|text| url(text)).collect();
            may_follow(&listed, &from, &url(to))
        };
        for (from, to) in [
            (&["https://docker.io/v2/"][..], "https://cdn.example.org/blob"),
            (&["https://docker.io/v2/"], "http://registry.lan/blob"),
            (&["http://localhost:5000/v2/"], "http://127.0.0.1:9000/blob"),
            (&["http://127.0.0.1:5000/v2/"], "https://cdn.example.org/blob"),
        ] {
            assert_eq!(allowed(from, to), Ok(()), "{from:?} to {to}");
        }
        for to in [
            "http://127.0.0.1:2375/containers/create",
            "http://localhost/",
            "https://127.8.8.8/",
            "http://[::1]:8080/",
            "https://[::ffff:127.0.0.1]/",
            "https://0.0.0.0:9/",
            "https://x.localhost/",
        ] {
            for from in
                [&["https://docker.io/v2/"][..], &["http://127.0.0.1/v2/", "https://cdn.example.org/"]]
            {
                assert!(allowed(from, to).is_err(), "{from:?} to {to}");
            }
        }
        assert!(allowed(&["https://docker.io/v2/"], "http://cdn.example.org/").is_err());
    }

    #[test]
    fn only_loopback_and_listed_hosts_go_without_tls() {
        let listed = vec!["registry.lan".to_string(), "other.lan:5000".to_string()];
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:5000",
            "registry.lan",
            "registry.lan:5000",
            "other.lan:5000",
        ] {
            assert!(plain_allowed(&listed, host), "{host}");
        }
        for host in
            ["docker.io", "other.lan", "other.lan:5001", "localhost.evil.org", "10.0.0.1", "[2001:db8::1]:80"]
        {
            assert!(!plain_allowed(&listed, host), "{host}");
        }
    }
}
