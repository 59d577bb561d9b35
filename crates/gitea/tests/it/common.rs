//! Clients, and a server that answers as a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use fireactions_gitea::{
    Gitea, Job, JobId, JobStatus, Kind, Registration, Scope, SecretSource, Settings, Timeouts,
};
use fireactions_model::Secret;
use serde_json::{Value, json};

pub(crate) const TOKEN: &str = "t0p-s3cret";

/// Times for a server that is near.
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
pub(crate) struct Source(Arc<Mutex<String>>);

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        Self(Arc::new(Mutex::new(text.into())))
    }

    pub(crate) fn set(&self, text: &str) {
        *self.0.lock().unwrap() = text.into();
    }

    pub(crate) fn source(&self) -> SecretSource {
        let inner = self.0.clone();
        Arc::new(move || Ok(Secret::new(inner.lock().unwrap().clone())))
    }
}

pub(crate) fn settings(kind: Kind, url: &str) -> Settings {
    Settings {
        kind,
        url: url.parse().unwrap(),
        token: Some(Source::new(TOKEN).source()),
        registration_token: None,
        ca_pem: None,
        proxy: None,
        insecure_http: false,
    }
}

pub(crate) fn client_of(settings: Settings) -> Gitea {
    Gitea::with_timeouts(settings, timeouts()).unwrap()
}

pub(crate) fn client(kind: Kind, url: &str) -> Gitea {
    client_of(settings(kind, url))
}

/// The same with a registration token that was given by hand, and nothing else.
pub(crate) fn by_hand(kind: Kind, url: &str) -> Gitea {
    let registration_token = Some(Source::new("by-hand\n").source());
    client_of(Settings { token: None, registration_token, ..settings(kind, url) })
}

pub(crate) fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

pub(crate) fn registration() -> Registration {
    Registration {
        name: "fa-1".into(),
        labels: vec!["ubuntu-24.04:host".into(), "self".into()],
        ephemeral: true,
        version: "fireactions".into(),
    }
}

/// A job of which nothing but its number is known.
pub(crate) fn job(place: &str, id: u64) -> Job {
    Job {
        id: JobId::new(id),
        scope: scope(place),
        handle: None,
        attempt: 1,
        run_id: None,
        name: String::new(),
        workflow: None,
        repository: None,
        repository_id: None,
        git_ref: None,
        actor: None,
        runs_on: Vec::new(),
        status: JobStatus::Waiting,
        conclusion: None,
        runner: None,
        runner_name: None,
        task: None,
        url: None,
        created_at: None,
        started_at: None,
        completed_at: None,
    }
}

/// A request that the scripted server got.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// In the order in which they came.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    /// The first value of this name in the query.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn page(&self) -> usize {
        self.param("page").map_or(1, |page| page.parse().unwrap())
    }

    pub(crate) fn json(&self) -> Option<Value> {
        (!self.body.is_empty()).then(|| serde_json::from_slice(&self.body).unwrap())
    }

    /// The value of `Authorization`.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").map(|value| value.to_str().unwrap())
    }
}

/// Serves answers by script; returns the URL.
pub(crate) async fn serve(answer: impl Fn(Asked) -> Response + Send + Sync + 'static) -> String {
    let answer = Arc::new(answer);
    let router = Router::new().fallback(move |request: Request| {
        let answer = answer.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
            answer(Asked {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: query.into_owned().collect(),
                headers: parts.headers,
                body,
            })
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

pub(crate) fn reply(status: u16, body: &Value) -> Response {
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/json;charset=utf-8")], body.to_string()).into_response()
}

pub(crate) fn status(status: u16) -> Response {
    axum::http::StatusCode::from_u16(status).unwrap().into_response()
}

/// A server of this version that otherwise answers by script.
pub(crate) async fn serve_version(
    version: &'static str,
    answer: impl Fn(Asked) -> Response + Send + Sync + 'static,
) -> String {
    serve(move |asked| {
        if asked.path.ends_with("/api/v1/version") {
            reply(200, &json!({"version": version}))
        } else {
            answer(asked)
        }
    })
    .await
}

pub(crate) const GITEA: &str = "1.26.0";
pub(crate) const FORGEJO: &str = "15.0.3+gitea-1.22.0";

pub(crate) fn version(kind: Kind) -> &'static str {
    match kind {
        Kind::Gitea => GITEA,
        Kind::Forgejo => FORGEJO,
    }
}

/// A client of a server of the recorded version that answers by script.
pub(crate) async fn scripted(
    kind: Kind,
    answer: impl Fn(Asked) -> Response + Send + Sync + 'static,
) -> Gitea {
    client(kind, &serve_version(version(kind), answer).await)
}

/// Requests that a scripted server got, for a test to look at.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    pub(crate) fn add(&self, asked: &Asked) {
        self.0.lock().unwrap().push(asked.clone());
    }

    pub(crate) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }
}
