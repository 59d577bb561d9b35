//! A whole answer.

use std::fmt;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use crate::Error;

/// A whole answer, of whatever status.
#[derive(Clone)]
pub struct Response {
    /// What the request was for.
    pub doing: String,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, as it came.
    pub body: Bytes,
    /// Headers that came after the body.
    pub trailers: HeaderMap,
}

// Tokens and configurations are secrets.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}: {}, {} bytes)", self.doing, self.status, self.body.len())
    }
}

impl Response {
    /// An answer without trailers, as most are.
    pub fn new(doing: impl Into<String>, status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { doing: doing.into(), status, headers, body, trailers: HeaderMap::new() }
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; `what` is what it should be. A byte order mark is skipped: GitHub's Actions service sends one.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`]
    pub fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, Error> {
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        serde_json::from_slice(body).map_err(|e| {
            // Where, not what: serde's message may repeat a secret.
            let why = match e.classify() {
                serde_json::error::Category::Data => {
                    format!("it is not {what} (line {}, column {})", e.line(), e.column())
                }
                _ => format!("it should be {what}, but is not JSON"),
            };
            Error::Unexpected { doing: self.doing.clone(), why }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &str) -> Response {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Response::new("test", StatusCode::OK, HeaderMap::new(), body)
    }

    #[test]
    fn json_with_and_without_a_byte_order_mark() {
        assert_eq!(response("\u{feff}[1]").json::<Vec<u8>>("numbers").unwrap(), [1]);
        assert_eq!(response("[1]").json::<Vec<u8>>("numbers").unwrap(), [1]);
        let error = response(r#"["s3cret"]"#).json::<Vec<u8>>("numbers").unwrap_err().to_string();
        assert!(error.contains("not numbers") && !error.contains("s3cret"), "{error}");
        let error = response("<html>").json::<Vec<u8>>("numbers").unwrap_err().to_string();
        assert!(error.contains("is not JSON"), "{error}");
    }
}
