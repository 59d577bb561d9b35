//! The Actions service of a scope: where it is, and the token for it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fireactions_model::Secret;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::sleep;
use url::Url;

use crate::settings::is_private;
use crate::transport::{Request, Response};
use crate::{Error, Github, Scope};

/// The version that the protocol has had since it is used outside of GitHub.
pub(super) const VERSION: &str = "6.0-preview";
/// One request that is no long poll.
const DEADLINE: Duration = Duration::from_secs(30);
/// A token that ends within this time is made anew.
const EARLY: i64 = 60;
/// A token that does not say when it ends is believed for so long.
const LIFETIME: i64 = 30 * 60;
/// A registration token is not known everywhere at once: tries of 401 and 403.
const TRIES: u32 = 4;
/// Most bytes of an answer.
pub(super) const MAX_BODY: usize = 4 << 20;
/// Longest address that the service may name.
pub(super) const MAX_URL: usize = 4096;

/// Where the service is, and what opens it.
#[derive(Clone)]
pub(super) struct Admin {
    url: Url,
    pub(super) token: Secret,
    ends: Timestamp,
}

/// One scope's part of the service.
pub(super) struct Service {
    github: Github,
    pub(super) scope: Scope,
    /// Held while a token is made, so that it is made once.
    admin: Mutex<Option<Admin>>,
}

impl Service {
    pub(super) fn new(github: Github, scope: Scope) -> Self {
        Self { github, scope, admin: Mutex::new(None) }
    }

    /// A request to the service, by its path below the service's address; a 401 is met by a new token, once.
    pub(super) async fn call(
        &self,
        doing: String,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Response, Error> {
        let mut again = false;
        loop {
            let admin = self.admin().await?;
            let mut url = joined(&admin.url, path, &doing)?;
            url.query_pairs_mut().extend_pairs(query).append_pair("api-version", VERSION);
            let request = request(doing.clone(), method.clone(), url, &admin.token, body.clone());
            let response = self.send(request).await?;
            if response.status != StatusCode::UNAUTHORIZED || again {
                return Ok(response);
            }
            again = true;
            self.forget(&admin).await;
        }
    }

    /// The wait before a second try.
    pub(super) fn pause(&self) -> Duration {
        self.github.caller().timeouts.backoff
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: Request) -> Result<Response, Error> {
        self.github.http().send(request).await
    }

    /// Where a path of the service is, for requests with another token than ours.
    pub(super) async fn address(&self, path: &str, doing: &str) -> Result<Url, Error> {
        let mut url = joined(&self.admin().await?.url, path, doing)?;
        url.query_pairs_mut().append_pair("api-version", VERSION);
        Ok(url)
    }

    async fn forget(&self, used: &Admin) {
        let mut admin = self.admin.lock().await;
        if admin.as_ref().is_some_and(|known| known.token == used.token) {
            *admin = None;
        }
    }

    async fn admin(&self) -> Result<Admin, Error> {
        let mut admin = self.admin.lock().await;
        if let Some(known) = admin.as_ref()
            && known.ends.as_second() - Timestamp::now().as_second() > EARLY
        {
            return Ok(known.clone());
        }
        let made = self.register().await?;
        *admin = Some(made.clone());
        Ok(made)
    }

    /// Makes a token for the service, by way of a registration token.
    async fn register(&self) -> Result<Admin, Error> {
        let doing = format!("open the Actions service of {}", self.scope);
        let mut pause = self.pause();
        let mut tries = 0;
        loop {
            let registration = self.github.registration_token(&self.scope).await?;
            let mut url = self.github.api().clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend(["actions", "runner-registration"]);
            }
            let body = json!({"url": self.page(), "runner_event": "register"});
            let authorization = Secret::new(format!("RemoteAuth {}", registration.token.expose()));
            let request = Request {
                authorization: Some(authorization),
                ..request(doing.clone(), Method::POST, url, &registration.token, Some(body))
            };
            let response = self.send(request).await?;
            tries += 1;
            match response.status {
                StatusCode::OK | StatusCode::CREATED => return admin(&response),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if tries < TRIES => {
                    sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    pause *= 2;
                }
                _ => return Err(failure(&response)),
            }
        }
    }

    /// The scope's page, by which the service knows it.
    fn page(&self) -> String {
        let mut page = self.github.page().clone();
        if let Ok(mut path) = page.path_segments_mut() {
            let parts: &[&str] = match &self.scope {
                Scope::Organization(name) => &[name],
                Scope::Repository { owner, name } => &[owner, name],
                Scope::Enterprise(name) => &["enterprises", name],
            };
            path.pop_if_empty().extend(parts);
        }
        page.into()
    }
}

fn admin(response: &Response) -> Result<Admin, Error> {
    #[derive(Deserialize)]
    struct Body {
        url: String,
        token: String,
    }
    let body: Body = response.json("the address and token of the Actions service")?;
    let odd = |why: &str| Error::Unexpected { doing: response.doing.clone(), why: why.to_owned() };
    let url = address(&body.url).ok_or_else(|| odd("it names no address that credentials are sent to"))?;
    let now = Timestamp::now().as_second();
    let ends = expiry(&body.token).unwrap_or(now + LIFETIME);
    let ends = Timestamp::from_second(ends).map_err(|_| odd("its token ends at no time"))?;
    Ok(Admin { url, token: Secret::new(body.token), ends })
}

/// An address that the service names, if it is one that credentials may be sent to.
pub(super) fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= MAX_URL)?;
    (is_private(&url) && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// When a token ends, by its own word; it is not for us to check.
fn expiry(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?["exp"].as_i64()
}

fn joined(base: &Url, path: &str, doing: &str) -> Result<Url, Error> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| Error::Unexpected {
            doing: doing.to_owned(),
            why: "the service has no address".into(),
        })?
        .pop_if_empty()
        .extend(path.split('/'));
    Ok(url)
}

/// A request with a bearer token.
pub(super) fn request(
    doing: String,
    method: Method,
    url: Url,
    token: &Secret,
    body: Option<Value>,
) -> Request {
    Request {
        doing,
        method,
        url,
        authorization: Some(Secret::new(format!("Bearer {}", token.expose()))),
        headers: vec![("accept", format!("application/json; api-version={VERSION}"))],
        body,
        deadline: DEADLINE,
        max_body: MAX_BODY,
    }
}

/// The service's kind of refusal, such as `AgentExistsException`; it is part of a longer name.
pub(super) fn is(response: &Response, kind: &str) -> bool {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default, rename = "typeName")]
        kind: String,
    }
    response.json::<Body>("an error").is_ok_and(|body| body.kind.contains(kind))
}

/// What an answer means that is not the expected one, with what GitHub's support asks for.
pub(super) fn failure(response: &Response) -> Error {
    let error = response.failure();
    if let Some(activity) = response.header("ActivityId").or_else(|| response.header("X-GitHub-Request-Id")) {
        let id: String = activity.chars().filter(char::is_ascii_graphic).take(80).collect();
        tracing::debug!(%error, activity = id, "the Actions service refused");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_end_is_read_without_being_believed() {
        let token = |claims: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(expiry(&token(r#"{"exp":1700000000}"#)), Some(1_700_000_000));
        for odd in ["", "a.b", "a.!!.c", &token("[]"), &token(r#"{"exp":"soon"}"#)] {
            assert_eq!(expiry(odd), None, "{odd}");
        }
    }

    #[test]
    fn credentials_go_to_no_odd_address() {
        assert!(address("https://pipelines.example.com/abc/").is_some());
        assert!(address("http://127.0.0.1:80/x").is_some(), "tests");
        for odd in [
            "http://example.com",
            "ftp://example.com",
            "https://u:p@example.com",
            "x",
            &format!("https://e.com/{}", "a".repeat(5000)),
        ] {
            assert!(address(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn paths_are_joined_whatever_the_address_ends_with() {
        for base in ["https://e.com/a", "https://e.com/a/"] {
            let url = joined(&base.parse().unwrap(), "_apis/runtime/x", "test").unwrap();
            assert_eq!(url.as_str(), "https://e.com/a/_apis/runtime/x");
        }
    }
}
