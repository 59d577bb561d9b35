//! A request that came and the answer it gets, as plain values.

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Value, json};

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: String,
    /// As it came, without the query.
    pub(super) path: String,
    /// Decoded.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Ask {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// What comes after `scheme` in the Authorization header.
    pub(super) fn authorization(&self, scheme: &str) -> Option<&str> {
        let (given, value) = self.header("authorization")?.split_once(' ')?;
        given.eq_ignore_ascii_case(scheme).then(|| value.trim())
    }

    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::empty(status)
            .header("content-type", "application/json; charset=utf-8")
            .with_body(serde_json::to_vec(body).unwrap())
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::empty(status).header("content-type", "text/plain").with_body(body.into())
    }

    /// GitHub's errors.
    pub(super) fn error(status: u16, message: &str) -> Self {
        let body = json!({
            "message": message,
            "documentation_url": "https://docs.github.com/rest",
            "status": status.to_string(),
        });
        Self::json(status, &body)
    }

    /// GitHub's answer to what it understands and does not take.
    pub(super) fn invalid(errors: &[String]) -> Self {
        let body = json!({
            "message": "Validation Failed",
            "documentation_url": "https://docs.github.com/rest",
            "errors": errors,
        });
        Self::json(422, &body)
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// The answer to those who ask too fast.
    pub(super) fn secondary(retry_after: u64) -> Self {
        let message =
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
        let reply = Self::error(403, message).header("retry-after", &retry_after.to_string());
        reply.header("x-ratelimit-remaining", "4000")
    }
}

/// Undoes `%XX`, and `+` in queries.
pub(super) fn decode(text: &str, query: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = || u8::from_str_radix(std::str::from_utf8(tail.get(..2)?).ok()?, 16).ok();
        match (first, hex()) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) if query => out.push(b' '),
            _ => out.push(*first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The parts of a query, decoded.
pub(super) fn query(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name, true), decode(value, true))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}
