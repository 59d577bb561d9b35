//! REST and the runner protocol, as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, redirect};
use serde_json::Value;

use super::server::{ADMIN, RealGitea};

/// The deadline of one request.
const WITHIN: Duration = Duration::from_secs(60);

/// An answer: the status, and the body as JSON, or as text where it is none.
pub type Answer = (u16, Value);

impl RealGitea {
    /// Whether it is up.
    pub(super) fn answers(&self) -> bool {
        let url = format!("{}/api/healthz", self.local());
        self.inside.run(move |runtime| {
            runtime.block_on(async {
                client().get(url).send().await.is_ok_and(|answer| answer.status().is_success())
            })
        })
    }

    /// A request below `/api/v1/`, with this token.
    pub fn call_with(&self, token: &str, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = client().request(method, format!("{}/api/v1/{path}", self.local()));
        request = request.header(AUTHORIZATION, format!("token {token}"));
        self.send(if let Some(body) = body { request.json(body) } else { request })
    }

    /// The same as the administrator.
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.call_with(self.token(), method, path, body)
    }

    /// What is at this path.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub fn get(&self, path: &str) -> Value {
        self.well(&Method::GET, path, None)
    }

    /// Posts and gives what is answered.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.well(&Method::POST, path, Some(body))
    }

    fn well(&self, method: &Method, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method.clone(), path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}\n{}", self.log());
        answer
    }

    /// A new token, which only a user's password gives, not another token.
    pub(super) fn make_token(&self, user: &str, asked: &Value) -> Value {
        let request = client().post(format!("{}/api/v1/users/{user}/tokens", self.local()));
        let (status, answer) = self.send(request.basic_auth(user, Some(ADMIN.1)).json(asked));
        assert_eq!(status, 201, "{answer}");
        answer
    }

    /// A call of the runner protocol in JSON, such as `FetchTask`; `runner` is its UUID and token.
    pub fn rpc(&self, method: &str, runner: Option<(&str, &str)>, body: &Value) -> Answer {
        let url = format!("{}/api/actions/runner.v1.RunnerService/{method}", self.local());
        let mut request = client().post(url).header("Connect-Protocol-Version", "1").json(body);
        if let Some((uuid, token)) = runner {
            request = request.header("x-runner-uuid", uuid).header("x-runner-token", token);
        }
        self.send(request)
    }

    /// A form that the administrator sends in the browser, for what no API does; gives the status.
    pub fn browse(&self, path: &str, form: &[(&str, &str)]) -> u16 {
        let (name, password) = ADMIN;
        let login = post_form(&self.local(), "user/login", &[("user_name", name), ("password", password)]);
        let asked = post_form(&self.local(), path, form);
        self.inside.run(move |runtime| {
            runtime.block_on(async {
                let answer = login.send().await.expect("Gitea answers a login");
                // Of several with one name the last is meant: the session is a new one once it is known whose it is.
                let cookies: BTreeMap<&str, &str> = answer
                    .headers()
                    .get_all(SET_COOKIE)
                    .iter()
                    .filter_map(|cookie| cookie.to_str().ok()?.split(';').next()?.split_once('='))
                    .collect();
                let cookies: Vec<String> =
                    cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let answer = asked.header(COOKIE, cookies.join("; ")).send().await;
                answer.expect("Gitea answers").status().as_u16()
            })
        })
    }

    fn send(&self, request: RequestBuilder) -> Answer {
        self.inside.run(move |runtime| {
            runtime.block_on(async {
                let answer = request.send().await.expect("Gitea answers");
                let status = answer.status().as_u16();
                let text = answer.text().await.expect("Gitea's whole answer");
                (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
            })
        })
    }
}

fn post_form(server: &str, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(form);
    let request = client().post(format!("{server}/{path}"));
    request.header("Content-Type", "application/x-www-form-urlencoded").body(body.finish())
}

/// One of its own for each request: a server that was started again has none of the old connections.
fn client() -> Client {
    // With TLS it has a certificate that nobody knows; a test's own questions do not need to.
    let builder = Client::builder().danger_accept_invalid_certs(true);
    builder.no_proxy().redirect(redirect::Policy::none()).timeout(WITHIN).build().expect("a client")
}
