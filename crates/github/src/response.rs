//! What an answer other than success means.

use std::time::Duration;

use fireactions_http::{Response, plain, times};
use serde::Deserialize;

use crate::Error;
use crate::said;

/// What GitHub's answers say beyond HTTP.
pub(crate) trait Meaning {
    /// How long GitHub wants not to be asked, by `Retry-After`: seconds or a date. At most a day.
    fn retry_after(&self) -> Option<Duration>;

    /// Whether it is a rate limit's refusal: how long to wait at least, and whether it is a secondary one.
    fn refusal(&self) -> Option<(Duration, bool)>;

    /// What GitHub says in a body that is no success: `message` of the REST API and of the Actions service alike, with
    /// the first of the `errors` beside it.
    fn message(&self) -> String;

    /// What an answer other than the expected one means.
    fn failure(&self) -> Error;
}

impl Meaning for Response {
    fn retry_after(&self) -> Option<Duration> {
        times::retry_after(&self.headers)
    }

    fn refusal(&self) -> Option<(Duration, bool)> {
        said::refusal(self.status, &self.headers, || self.message())
    }

    fn message(&self) -> String {
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

    fn failure(&self) -> Error {
        let (doing, message, status) = (self.doing.clone(), self.message(), self.status.as_u16());
        if let Some((after, secondary)) = self.refusal() {
            return Error::RateLimited { doing, after, secondary };
        }
        match status {
            300..=399 => Error::Unexpected {
                doing,
                why: "GitHub redirects to another address, and redirects are not followed; if the organization or repository was renamed, configure its new name"
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
    use bytes::Bytes;
    use reqwest::StatusCode;

    use super::*;

    fn response(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let status = StatusCode::from_u16(status).unwrap();
        Response::new("test", status, headers, Bytes::copy_from_slice(body.as_bytes()))
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
}
