//! Requests to the provider.

use std::time::Duration;

use fireactions_http::{Body, Http, Request, Response, plain};
use fireactions_model::Secret;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::Error;

const DEADLINE: Duration = Duration::from_secs(10);
/// Of an answer: a set of keys with certificates is some kilobytes.
const MAX_BODY: usize = 1 << 20;

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: Http,
    pub(crate) id: String,
    pub(crate) secret: Option<Secret>,
}

/// What the provider gives for a code.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) id_token: String,
    pub(crate) access_token: Option<String>,
}

/// How it refuses (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Client {
    pub(crate) async fn get(
        &self,
        doing: &str,
        url: &Url,
        authorization: Option<Secret>,
    ) -> Result<Response, Error> {
        self.send(doing, Method::GET, url, authorization, None).await
    }

    /// Tokens for a code.
    pub(crate) async fn redeem(&self, url: &Url, form: &[(&str, &str)]) -> Result<Tokens, Error> {
        let mut form: Vec<(&str, &str)> = form.to_vec();
        let authorization = self.secret.as_ref().map(|secret| basic(&self.id, secret));
        if authorization.is_none() {
            form.push(("client_id", &self.id));
        }
        let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let body = Body::Bytes { content_type: "application/x-www-form-urlencoded", bytes: text.into() };
        let doing = "ask the provider who has logged in";
        Ok(self
            .send(doing, Method::POST, url, authorization, Some(body))
            .await?
            .json("a provider's tokens")?)
    }

    async fn send(
        &self,
        doing: &str,
        method: Method,
        url: &Url,
        authorization: Option<Secret>,
        body: Option<Body>,
    ) -> Result<Response, Error> {
        let request = Request {
            doing: doing.to_owned(),
            method,
            url: url.clone(),
            authorization,
            headers: vec![("accept", "application/json".to_owned())],
            body,
            deadline: DEADLINE,
            max_body: MAX_BODY,
        };
        let answer = self.http.send(request).await?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        let why = answer.json::<Refusal>("a refusal").map_or_else(
            |_| format!("status {}", answer.status.as_u16()),
            |refusal| plain(&format!("{} {}", refusal.error, refusal.error_description)),
        );
        Err(Error::Refused(format!("{why} (to {doing})")))
    }
}

/// The client's name and secret in a header (RFC 6749, section 2.3.1: both encoded as in a form first).
fn basic(id: &str, secret: &Secret) -> Secret {
    use base64::Engine as _;
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pair = format!("{}:{}", encoded(id), encoded(secret.expose()));
    Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}
