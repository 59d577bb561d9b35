//! What an answer other than success means.

use std::time::Duration;

use fireactions_http::{Response, plain, times};
use reqwest::header::LOCATION;
use serde::Deserialize;
use url::Url;

use crate::{Error, Kind};

/// What to wait after a 429 that says no time.
const LIMITED: Duration = Duration::from_secs(30);

/// What the server says in a body that is no success: `message`, with the first of the `errors` beside it. The runner
/// protocol has `message` as well.
pub(crate) fn message(response: &Response) -> String {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        errors: serde_json::Value,
    }
    let Ok(body) = response.json::<Body>("an error") else { return format!("({})", response.status) };
    let text = [body.message.as_deref(), body.errors[0].as_str()];
    let text: Vec<&str> = text.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    if text.is_empty() { format!("({})", response.status) } else { plain(&text.join(": ")) }
}

/// SQLite, which a small server uses, was busy: nothing was written, and soon it will be.
pub(crate) fn is_locked(response: &Response) -> bool {
    response.status.is_server_error() && message(response).contains("database is locked")
}

/// What an answer other than the expected one means.
pub(crate) fn failure(forge: Kind, response: &Response, here: &Url) -> Error {
    let (doing, message, status) = (response.doing.clone(), message(response), response.status.as_u16());
    match status {
        300..=399 => Error::Unexpected { forge, doing, why: elsewhere(response, here) },
        401 => Error::Unauthorized { forge, doing, message },
        403 => {
            let needs = needs(&message);
            Error::Forbidden { forge, doing, message, needs }
        }
        404 | 410 => Error::NotFound { forge, doing, message },
        429 => Error::RateLimited {
            forge,
            doing,
            after: times::retry_after(&response.headers).unwrap_or(LIMITED),
        },
        408 | 500..=599 => {
            // All errors of the runner protocol are 500 at Gitea.
            if message.contains("registration token not found") {
                return Error::Unauthorized { forge, doing, message };
            }
            Error::Server { forge, doing, status, message, after: times::retry_after(&response.headers) }
        }
        400 if message.contains("registration token not found") => {
            Error::Unauthorized { forge, doing, message }
        }
        400..=499 => Error::Refused { forge, doing, status, message },
        _ => Error::Unexpected { forge, doing, why: format!("the status is {}", response.status) },
    }
}

/// The scopes that a refusal asks for: Gitea's `required=[write:organization]`, Forgejo's
/// `required scope(s): [write:organization]`.
fn needs(message: &str) -> Vec<String> {
    let list = message
        .split_once("required")
        .and_then(|(_, rest)| rest.split_once('['))
        .and_then(|(_, rest)| rest.split_once(']'));
    let Some((list, _)) = list else { return Vec::new() };
    let words = list.split([',', ' ']).map(str::trim).filter(|word| word.contains(':'));
    words.map(ToOwned::to_owned).collect()
}

/// Where a redirect leads, and what to set. It is not followed: the token was meant for this address alone.
fn elsewhere(response: &Response, here: &Url) -> String {
    let to = response.header(LOCATION.as_str()).and_then(|to| here.join(to).ok());
    let Some(to) = to.filter(Url::has_host) else {
        return "it redirects without an address; set the URL that browsers show".into();
    };
    let secure = here.scheme() == "http" && to.scheme() == "https";
    if secure && to.host_str() == here.host_str() {
        let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = to.host_str().unwrap_or_default();
        return format!(
            "it redirects to https, and redirects are not followed; set the URL to https://{}{port}/…",
            plain(host)
        );
    }
    let mut shown = to;
    shown.set_query(None);
    shown.set_fragment(None);
    let nothing = shown.set_username("").and_then(|()| shown.set_password(None));
    let shown = if nothing.is_ok() { plain(shown.as_str()) } else { String::from("another address") };
    format!(
        "it redirects to {shown}, and redirects are not followed; configure the new URL, or the new name of the organization or repository"
    )
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

    fn fails(status: u16, headers: &[(&'static str, &str)], body: &str) -> Error {
        let here = "http://git.lan/api/v1/version".parse().unwrap();
        failure(Kind::Gitea, &response(status, headers, body), &here)
    }

    #[test]
    fn messages() {
        let said = |body: &str| message(&response(422, &[], body));
        assert_eq!(
            said(r#"{"message":"GetOrgByName","errors":["no such"],"url":"x"}"#),
            "GetOrgByName: no such"
        );
        assert_eq!(said(r#"{"message":"Runner not found","errors":null}"#), "Runner not found");
        assert_eq!(
            said(r#"{"code":"unknown","message":"missing runner token, name"}"#),
            "missing runner token, name"
        );
        assert_eq!(said("<html>"), "(422 Unprocessable Entity)");
        assert_eq!(said(r#"{"message":null}"#), "(422 Unprocessable Entity)");
    }

    #[test]
    fn statuses() {
        let of = |status| fails(status, &[], r#"{"message":"m"}"#);
        assert!(matches!(of(401), Error::Unauthorized { .. }));
        assert!(matches!(of(403), Error::Forbidden { .. }));
        assert!(matches!(of(404), Error::NotFound { .. }));
        assert!(matches!(of(422), Error::Refused { status: 422, .. }));
        assert!(matches!(of(500), Error::Server { status: 500, .. }));
        assert!(matches!(of(204), Error::Unexpected { .. }));
        assert_eq!(of(429).retry_after(), Some(LIMITED));
        assert_eq!(fails(429, &[("retry-after", "7")], "").retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(fails(503, &[("retry-after", "7")], "").retry_after(), Some(Duration::from_secs(7)));
        for status in [400, 500] {
            let error = fails(status, &[], r#"{"code":"x","message":"runner registration token not found"}"#);
            assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
        }
    }

    #[test]
    fn the_scope_that_is_needed_is_said() {
        for message in [
            "token does not have at least one of required scope(s), required=[write:organization], token scope=read:user",
            "token does not have at least one of required scope(s): [write:organization]",
        ] {
            assert_eq!(needs(message), ["write:organization"]);
            let error = fails(403, &[], &serde_json::json!({"message": message}).to_string()).to_string();
            assert!(error.ends_with("create a token with the scope write:organization"), "{error}");
        }
        assert_eq!(needs("required=[read:admin,write:admin]"), ["read:admin", "write:admin"]);
        assert!(needs("Must be an organization owner").is_empty() && needs("required=[").is_empty());
    }

    #[test]
    fn redirects_say_what_to_set() {
        let to = |location: &str| fails(301, &[("location", location)], "").to_string();
        let https = to("https://git.lan/api/v1/version");
        assert!(https.contains("redirects to https") && https.contains("https://git.lan/"), "{https}");
        let moved = to("https://u:hunter2@other.lan/git/api/v1/version?token=hunter2");
        assert!(moved.contains("https://other.lan/git/") && !moved.contains("hunter2"), "{moved}");
        assert!(to("/login").contains("http://git.lan/login"));
        assert!(fails(302, &[], "").to_string().contains("without an address"));
    }

    #[test]
    fn a_locked_database() {
        assert!(is_locked(&response(500, &[], r#"{"message":"database is locked"}"#)));
        assert!(is_locked(&response(
            500,
            &[],
            r#"{"code":"unknown","message":"create: database is locked (5)"}"#
        )));
        assert!(
            !is_locked(&response(500, &[], "{}")) && !is_locked(&response(400, &[], "database is locked"))
        );
    }
}
