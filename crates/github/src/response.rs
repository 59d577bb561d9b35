//! An answer, and what one other than success means.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::plain;
use crate::said;

/// A whole answer, of whatever status.
#[derive(Clone)]
pub(crate) struct Response {
    /// What the request was for.
    pub doing: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

// Tokens and configurations are secrets.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({}: {}, {} bytes)", self.doing, self.status, self.body.len())
    }
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
        said::date(&self.headers)
    }

    /// How long GitHub wants not to be asked, by `Retry-After`: seconds or a date. At most a day.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        said::retry_after(&self.headers)
    }

    /// Whether it is a rate limit's refusal: how long to wait at least, and whether it is a secondary one.
    pub(crate) fn refusal(&self) -> Option<(Duration, bool)> {
        said::refusal(self.status, &self.headers, || self.message())
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
        if let Some((after, secondary)) = self.refusal() {
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
