//! The Actions service of a scope: where it is, and the token for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fireactions_http::{Response, SingleFlight, times};
use fireactions_model::{ExponentialBackoff, Secret, is_private};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::address::url;
use crate::caller::{ACTIONS_VERSION, Api, Call, Caller, Signed, Signer};
use crate::response::Meaning as _;
use crate::{Error, Github, Scope};

/// A token that ends within this time is made anew.
const EARLY: Duration = Duration::from_secs(60);
/// A token that does not say when it ends is believed for so long.
const LIFETIME: i64 = 30 * 60;
/// No token is believed for longer, whatever it says.
const LONGEST: i64 = 24 * 3600;
/// A registration token is not known everywhere at once: tries of 401 and 403, with the same one.
const TRIES: u32 = 4;
/// Longest address that the service may name.
pub(super) const MAX_URL: usize = 4096;

/// Where the service is, and what opens it.
#[derive(Clone)]
pub(super) struct Admin {
    url: Url,
    token: Secret,
    /// By our own count of the seconds from GitHub's date on: neither clock is trusted to agree with the other.
    until: Instant,
}

/// One scope's part of the service.
pub(super) struct Service {
    github: Github,
    pub(super) scope: Scope,
    admin: Mutex<Option<Admin>>,
    opening: SingleFlight<Admin, Error>,
}

impl Service {
    pub(super) fn new(github: Github, scope: Scope) -> Self {
        Self { github, scope, admin: Mutex::default(), opening: SingleFlight::default() }
    }

    pub(super) fn caller(&self) -> &Caller {
        self.github.caller()
    }

    /// A call to the service, by its path below the service's address; a 401 is met by a new token, once.
    pub(super) async fn call(
        &self,
        doing: String,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Response, Error> {
        self.call_until(doing, method, path, query, body, self.caller().deadline()).await
    }

    pub(super) async fn call_until(
        &self,
        doing: String,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Value>,
        until: Instant,
    ) -> Result<Response, Error> {
        let signer = ByAdmin { service: self, doing, method, path, query, body, used: None };
        self.caller().ask_until(signer, until).await
    }

    /// A call to the service or its queues. What is made by POST may have been made when the answer is lost.
    pub(super) fn to(doing: String, method: Method, url: Url, body: Option<Value>) -> Call {
        let repeatable = method != Method::POST;
        Call { api: Api::Actions, method, body, repeatable, ..Call::get(doing, "actions", url) }
    }

    /// A signed call to the service or its queues.
    pub(super) fn signed(&self, call: Call, token: &Secret) -> Signed {
        let authorization = Secret::new(format!("Bearer {}", token.expose()));
        Signed { call, credential: format!("scale sets of {}", self.scope), authorization }
    }

    /// Where a path of the service is.
    pub(super) async fn address(&self, path: &str, doing: &str, until: Instant) -> Result<Url, Error> {
        let mut url = joined(&self.admin(until).await?.url, path, doing)?;
        url.query_pairs_mut().append_pair("api-version", ACTIONS_VERSION);
        Ok(url)
    }

    fn known(&self) -> MutexGuard<'_, Option<Admin>> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn good(&self) -> Option<Admin> {
        self.known().clone().filter(|admin| admin.until > Instant::now())
    }

    fn forget(&self, used: &Admin) {
        let mut admin = self.known();
        if admin.as_ref().is_some_and(|known| known.token == used.token) {
            *admin = None;
        }
    }

    async fn admin(&self, until: Instant) -> Result<Admin, Error> {
        if let Some(known) = self.good() {
            return Ok(known);
        }
        let doing = || format!("open the Actions service of {}", self.scope);
        let open = || async {
            if let Some(known) = self.good() {
                return Ok(known);
            }
            let made = self.register(doing(), until).await?;
            *self.known() = Some(made.clone());
            Ok(made)
        };
        let late = || Error::Timeout { doing: doing(), after: self.caller().timeouts.total };
        self.opening.run(until, open, late).await
    }

    /// Makes a token for the service, by way of a registration token.
    async fn register(&self, doing: String, until: Instant) -> Result<Admin, Error> {
        let registration = self.github.registration_token_until(&self.scope, until).await?;
        let url = url(self.github.api(), &["actions", "runner-registration"]);
        let body = json!({"url": self.page(), "runner_event": "register"});
        // Another token is made of it each time, and one that nobody hears of ends by itself.
        let call = Call { repeatable: true, ..Self::to(doing, Method::POST, url, Some(body)) };
        let call = Call { kind: "runner-registration", ..call };
        let authorization = Secret::new(format!("RemoteAuth {}", registration.token.expose()));
        let signed = Signed { authorization, ..self.signed(call, &registration.token) };
        let first = self.caller().timeouts.backoff;
        let mut backoff = ExponentialBackoff::new(first, first * 8);
        loop {
            let response = self.caller().send(&signed, until).await?;
            if response.status.is_success() {
                return admin(&response);
            }
            let error = failure(&response);
            let delay = backoff.failed(rand::random());
            let known_yet = !matches!(error, Error::Unauthorized { .. } | Error::Forbidden { .. });
            if known_yet || backoff.failures() >= TRIES || Instant::now() + delay >= until {
                return Err(error);
            }
            sleep(delay).await;
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
    let url =
        address(&body.url).ok_or_else(|| odd("it names no address to which credentials may be sent"))?;
    // By GitHub's own clock; ours may be off.
    let life =
        expiry(&body.token).map_or(LIFETIME, |ends| ends.saturating_sub(times::now(&response.headers)));
    let life = Duration::from_secs(u64::try_from(life.min(LONGEST)).unwrap_or(0)).saturating_sub(EARLY);
    Ok(Admin { url, token: Secret::new(body.token), until: Instant::now() + life })
}

/// Signs with the service's token.
struct ByAdmin<'a> {
    service: &'a Service,
    doing: String,
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    body: Option<Value>,
    used: Option<Admin>,
}

impl Signer for ByAdmin<'_> {
    async fn sign(&mut self, until: Instant) -> Result<Signed, Error> {
        let admin = self.used.insert(self.service.admin(until).await?);
        let mut url = joined(&admin.url, self.path, &self.doing)?;
        url.query_pairs_mut().extend_pairs(self.query).append_pair("api-version", ACTIONS_VERSION);
        let call = Service::to(self.doing.clone(), self.method.clone(), url, self.body.clone());
        Ok(self.service.signed(call, &admin.token))
    }

    async fn renew(&mut self, _: &Response, _: Instant) -> Result<(), Error> {
        if let Some(used) = &self.used {
            self.service.forget(used);
        }
        Ok(())
    }
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
