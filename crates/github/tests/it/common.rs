//! Clients, and a server that answers as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use fireactions_github::{App, Credentials, Github, Scope, SecretSource, Settings, Timeouts};
use fireactions_model::Secret;
use fireactions_testkit::github::{AppKey, FakeGithub};

/// Times for a GitHub that is near.
pub(crate) fn timeouts() -> Timeouts {
    Timeouts {
        request: Duration::from_secs(30),
        total: Duration::from_secs(45),
        attempts: 4,
        backoff: Duration::from_millis(2),
    }
}

/// A secret that can be changed.
#[derive(Clone)]
pub(crate) struct Source(Arc<Mutex<(String, u32)>>);

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        Self(Arc::new(Mutex::new((text.into(), 0))))
    }

    pub(crate) fn set(&self, text: &str) {
        self.0.lock().unwrap().0 = text.into();
    }

    pub(crate) fn reads(&self) -> u32 {
        self.0.lock().unwrap().1
    }

    pub(crate) fn source(&self) -> SecretSource {
        let inner = self.0.clone();
        Arc::new(move || {
            let mut inner = inner.lock().unwrap();
            inner.1 += 1;
            Ok(Secret::new(inner.0.clone()))
        })
    }
}

pub(crate) fn settings(url: &str, credentials: Credentials) -> Settings {
    Settings { url: url.parse().unwrap(), credentials, ca_pem: None, proxy: None }
}

pub(crate) fn client(url: &str, credentials: Credentials) -> Github {
    Github::with_timeouts(settings(url, credentials), timeouts()).unwrap()
}

pub(crate) fn app(key: &AppKey) -> App {
    App { id: key.client_id.clone(), key: Source::new(&key.pkcs1).source() }
}

pub(crate) fn token(text: &str) -> Credentials {
    Credentials::Token(Source::new(text).source())
}

pub(crate) fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

/// An organization `octo` with the repository `octo/app` and an App that may do everything there.
pub(crate) struct Octo {
    pub(crate) fake: FakeGithub,
    pub(crate) key: AppKey,
    pub(crate) installation: u64,
    pub(crate) github: Github,
}

impl Octo {
    pub(crate) fn new() -> Self {
        let fake = FakeGithub::local();
        // What the client makes of lists is looked at here, not their age.
        fake.set_lists_behind(Duration::ZERO);
        fake.repository("octo/app");
        let key = fake.app("runners");
        let installation = fake.install_fully(key.id, "octo");
        let github = client(&fake.url(), Credentials::Apps(vec![app(&key)]));
        Self { fake, key, installation, github }
    }

    pub(crate) fn calls(&self, route: &str) -> u64 {
        self.fake.calls().of(route)
    }
}

/// Nothing that the client sent is against the description.
pub(crate) fn assert_clean(fake: &FakeGithub) {
    assert_eq!(fake.violations(), Vec::<String>::new());
}

/// A request that the scripted server got.
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) uri: String,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Bytes,
}

/// Serves answers by script; returns the URL.
pub(crate) async fn serve(answer: impl Fn(Asked) -> Response + Send + Sync + 'static) -> String {
    let answer = Arc::new(answer);
    let router = Router::new().fallback(move |request: Request| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            let (method, uri) = (parts.method.to_string(), parts.uri.to_string());
            answer(Asked { method, uri, headers: parts.headers, body })
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

pub(crate) fn json(status: u16, body: &serde_json::Value) -> Response {
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}
