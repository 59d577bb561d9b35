//! The collector: how it is reached, and one request to it.

use std::collections::BTreeMap;
use std::time::Duration;

use fireactions_http::{Body, Connection, Http, Request};
use fireactions_model::Secret;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::answer::{self, Answer};
use crate::trace::Trace;
use crate::{grpc, otlp};

/// An answer has some words at most.
const MAX_ANSWER: usize = 64 * 1024;

/// What is spoken with the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC, usually on port 4317.
    Grpc,
    /// OTLP/HTTP with protobuf, usually on port 4318.
    Http,
}

/// How the collector is reached, and who says it is telling.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collector's address; by HTTP, `/v1/traces` below it.
    pub endpoint: Url,
    /// What is spoken there.
    pub protocol: Protocol,
    /// More headers of each request, `NAME: VALUE`, one a line.
    pub headers: Option<Secret>,
    /// Certificates of authorities to trust in addition to the usual ones, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Allows an address without TLS that is not on this host.
    pub insecure_http: bool,
    /// For a request and its whole answer.
    pub timeout: Duration,
    /// Who tells: attributes of the resource.
    pub resource: BTreeMap<String, String>,
}

/// Why no collector can be reached by some settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A line of the headers. What is in it is not repeated.
    #[error("line {line} of the headers is none: {rule}")]
    Header {
        /// From 1.
        line: usize,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Certificates, or a proxy.
    #[error(transparent)]
    Client(#[from] fireactions_http::Error),
}

impl Settings {
    /// Whether a collector can be reached by them. Whether one is there is not asked.
    ///
    /// # Errors
    ///
    /// Headers or certificates that are none.
    pub fn check(&self) -> Result<(), SettingsError> {
        Collector::new(self.clone()).map(drop)
    }
}

/// A collector.
pub(crate) struct Collector {
    http: Http,
    url: Url,
    protocol: Protocol,
    timeout: Duration,
    resource: BTreeMap<String, String>,
}

impl Collector {
    pub(crate) fn new(settings: Settings) -> Result<Self, SettingsError> {
        let Settings { endpoint, protocol, headers, ca_pem, insecure_http, timeout, resource } = settings;
        let http = Http::new(&Connection {
            ca_pem: ca_pem.as_deref(),
            insecure_http,
            http2: protocol == Protocol::Grpc,
            headers: headers.as_ref().map(parsed).transpose()?.unwrap_or_default(),
            ..Connection::new(&endpoint)
        })?;
        let mut url = endpoint;
        match protocol {
            Protocol::Grpc => url.set_path(grpc::EXPORT),
            Protocol::Http => url.set_path(&format!("{}/v1/traces", url.path().trim_end_matches('/'))),
        }
        Ok(Self { http, url, protocol, timeout, resource })
    }

    /// Tells of traces, once.
    pub(crate) async fn tell(&self, traces: &[Trace]) -> Answer {
        let message = otlp::export(&self.resource, traces);
        let (headers, body) = match self.protocol {
            Protocol::Grpc => {
                let bytes = grpc::framed(&message);
                let timeout = format!("{}m", self.timeout.as_millis().min(99_999_999));
                let headers = vec![("te", "trailers".to_owned()), ("grpc-timeout", timeout)];
                (headers, Body::Bytes { content_type: "application/grpc", bytes })
            }
            Protocol::Http => {
                let content_type = "application/x-protobuf";
                (Vec::new(), Body::Bytes { content_type, bytes: message.into() })
            }
        };
        let request = Request {
            doing: "send traces".to_owned(),
            method: Method::POST,
            url: self.url.clone(),
            authorization: None,
            headers,
            body: Some(body),
            deadline: self.timeout,
            max_body: MAX_ANSWER,
        };
        match self.http.send(request).await {
            Ok(response) => match self.protocol {
                Protocol::Grpc => answer::of_grpc(&response),
                Protocol::Http => answer::of_http(&response),
            },
            Err(
                error @ (fireactions_http::Error::Unexpected { .. } | fireactions_http::Error::Credential(_)),
            ) => Answer::Never(error.to_string()),
            Err(error) => Answer::Later { after: None, why: error.to_string() },
        }
    }
}

/// The headers of a file: a name, a colon and a value in each line. Empty lines and those that begin with `#` are left out.
fn parsed(text: &Secret) -> Result<HeaderMap, SettingsError> {
    let mut headers = HeaderMap::new();
    for (index, line) in text.expose().lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |rule| SettingsError::Header { line: index + 1, rule };
        let (name, value) = line.split_once(':').ok_or(wrong("write NAME: VALUE"))?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| wrong("its name is not a header's"))?;
        let mut value =
            HeaderValue::try_from(value.trim()).map_err(|_| wrong("its value cannot be a header's"))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_file_are_read_and_never_repeated() {
        let text = "# of the vendor\nauthorization: Bearer s3cret\n\nX-Scope-OrgID:  team a \n";
        let headers = parsed(&Secret::new(text)).unwrap();
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["x-scope-orgid"], "team a");
        assert!(headers.values().all(HeaderValue::is_sensitive) && headers.len() == 2);
        for (text, line) in [("Bearer s3cret", 1), ("a: 1\nb c: s3cret", 2), ("a: s3\x07cret", 1)] {
            let error = parsed(&Secret::new(text)).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line} ")) && !error.contains("cret"), "{error}");
        }
    }
}
