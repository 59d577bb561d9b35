//! The smallest client: enough to ask for anything.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fireactions_testkit::github::{AppKey, FakeGithub};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// Long after anything that is waited for, on a machine that does something else besides.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) api: String,
    pub(crate) authorization: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        Self { status, headers, body: serde_json::from_slice(bytes).unwrap_or(Value::Null) }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

impl Client {
    pub(crate) fn new(fake: &FakeGithub, authorization: Option<String>) -> Self {
        let policy = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(policy).user_agent("test").build().unwrap();
        Self { http, api: format!("{}/api/v3", fake.url()), authorization }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.api) };
        let request = self.http.request(method, url).header("accept", "application/vnd.github+json");
        match &self.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.request(Method::POST, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn jit(&self, scope: &str, name: &str, labels: &[&str]) -> Answer {
        let body = json!({"name": name, "runner_group_id": 1, "labels": labels});
        self.post(&format!("{scope}/actions/runners/generate-jitconfig"), Some(&body)).await
    }
}

/// A JWT with these times, relative to the fake's clock.
pub(crate) fn jwt(fake: &FakeGithub, key: &AppKey, issued: i64, expires: i64) -> String {
    let now = fake.now().as_second();
    let claims = json!({"iss": key.client_id, "iat": now + issued, "exp": now + expires});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({"alg": "RS256", "typ": "JWT"})), encode(&claims));
    let pem: String = key.pkcs1.lines().filter(|line| !line.starts_with("--")).collect();
    let pair = RsaKeyPair::from_der(&STANDARD.decode(pem).unwrap()).unwrap();
    let pem: String = key.pkcs8.lines().filter(|line| !line.starts_with("--")).collect();
    let same = RsaKeyPair::from_pkcs8(&STANDARD.decode(pem).unwrap()).unwrap();
    assert_eq!(pair.public_key().as_ref(), same.public_key().as_ref());
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A client that is the app.
pub(crate) fn app(fake: &FakeGithub, key: &AppKey) -> Client {
    Client::new(fake, Some(format!("Bearer {}", jwt(fake, key, -60, 480))))
}

/// A client that is an installation.
pub(crate) async fn installation(fake: &FakeGithub, key: &AppKey, id: u64) -> Client {
    let path = format!("/app/installations/{id}/access_tokens");
    let answer = app(fake, key).post(&path, None).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    Client::new(fake, Some(format!("Bearer {}", answer.body["token"].as_str().unwrap())))
}

/// What a runner's credential holds.
pub(crate) fn decoded(config: &str) -> Value {
    serde_json::from_slice(&STANDARD.decode(config).unwrap()).unwrap()
}

/// A fake with `octo/app` and an installation that may do everything, and a client that is this installation.
pub(crate) async fn world() -> (FakeGithub, Client) {
    let fake = FakeGithub::local();
    fake.repository("octo/app");
    let key = fake.app("runners");
    let id = fake.install_fully(key.id, "octo");
    let client = installation(&fake, &key, id).await;
    (fake, client)
}

/// Nobody did anything against the description or the protocol.
pub(crate) fn assert_clean(fake: &FakeGithub) {
    assert_eq!(fake.violations(), Vec::<String>::new());
}
