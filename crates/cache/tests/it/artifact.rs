//! GitHub's client of artifacts asks the same service at GitHub as the cache's does. Where the cache's calls are led to the host, its
//! own go where they went, as they were.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fireactions_testkit::actions_toolkit;
use fireactions_testkit::certificate::Authority;
use serde_json::{Value, json};

use crate::common::*;
use crate::toolkit::{Runner, V2, preloaded};

const SERVICE: &str = "/twirp/github.actions.results.api.v1.ArtifactService/";

/// A path, and the token that was shown.
type Asked = (String, Option<String>);

/// What is needed of the service of artifacts at GitHub, over TLS, and what it was asked.
#[derive(Clone, Default)]
struct Results {
    base: Arc<Mutex<String>>,
    content: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Results {
    async fn start(authority: &Authority) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let results = Self::default();
        *results.base.lock().unwrap() = format!("https://{}", listener.local_addr().unwrap());
        let service = Router::new().fallback(answer).with_state(results.clone());
        let listener = Tls { listener, acceptor: authority.acceptor() };
        tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
        results
    }

    fn base(&self) -> String {
        self.base.lock().unwrap().clone()
    }

    /// The methods that were called, and with which token.
    fn called(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        let calls = asked
            .iter()
            .filter_map(|(path, token)| Some((path.strip_prefix(SERVICE)?.to_owned(), token.clone())));
        calls.collect()
    }
}

struct Tls {
    listener: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl Listener for Tls {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn answer(
    State(results): State<Results>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    results.asked.lock().unwrap().push((uri.path().to_owned(), token));
    let base = results.base();
    let blob = format!("{base}/account/container/artifact.zip");
    let size = || results.content.lock().unwrap().len().to_string();
    let artifact = |size: String| json!({"workflowRunBackendId": "run", "workflowJobRunBackendId": "job", "databaseId": "7", "name": "logs", "size": size});
    match (method, uri.path().strip_prefix(SERVICE)) {
        (Method::POST, Some("CreateArtifact")) => {
            Json(json!({"ok": true, "signedUploadUrl": blob})).into_response()
        }
        (Method::POST, Some("FinalizeArtifact" | "DeleteArtifact")) => {
            Json(json!({"ok": true, "artifactId": "7"})).into_response()
        }
        (Method::POST, Some("ListArtifacts")) => {
            Json(json!({"artifacts": [artifact(size())]})).into_response()
        }
        (Method::POST, Some("GetSignedArtifactURL")) => Json(json!({"signedUrl": blob})).into_response(),
        (Method::PUT, None) => {
            // A list of blocks changes nothing: there is one block.
            if !uri.query().unwrap_or_default().contains("comp=blocklist") {
                *results.content.lock().unwrap() = body.to_vec();
            }
            (StatusCode::CREATED, [(header::ETAG, "\"1\"")]).into_response()
        }
        (Method::GET, None) => {
            ([(header::CONTENT_TYPE, "application/zip")], results.content.lock().unwrap().clone())
                .into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test]
async fn artifacts_go_where_they_went_while_caches_are_led_to_the_host() {
    let Some(packages) =
        actions_toolkit::available("artifact::artifacts_go_where_they_went_while_caches_are_led_to_the_host")
    else {
        return;
    };
    let world = World::of_files().await;
    let runner = Runner::new(&packages, &world, world.main_job(1, "o/r"));
    let authority = Authority::new();
    let results = Results::start(&authority).await;
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trusted.path(), authority.pem()).unwrap();
    // A token of which the client reads whose it is.
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let token =
        format!("{}.{}.x", part(json!({"alg": "none"})), part(json!({"scp": "Actions.Results:run:job"})));
    let env = json!({
        "ACTIONS_RESULTS_URL": results.base() + "/",
        "ACTIONS_CACHE_URL": results.base() + "/",
        "ACTIONS_CACHE_SERVICE_V2": "1",
        "ACTIONS_RUNTIME_TOKEN": token,
        "FIREACTIONS_ACTIONS_CACHE": runner.url,
        "NODE_EXTRA_CA_CERTS": trusted.path(),
    });
    runner.write("logs/first", "what happened");
    runner.write("kept/file", "for the next job");
    let logs = runner.work().join("logs");
    let down = runner.work().join("down");
    let step = |client: &str, call: &str, args: Value| json!({"client": client, "call": call, "args": args, "env": {}});
    // In one program, in turns.
    let steps = [
        step("artifact", "uploadArtifact", json!(["logs", [logs.join("first")], logs])),
        step(V2, "saveCache", json!([["kept"], "k"])),
        step("artifact", "getArtifact", json!(["logs"])),
        step(V2, "restoreCache", json!([["kept"], "k"])),
        step("artifact", "downloadArtifact", json!([7, {"path": down}])),
        step("artifact", "deleteArtifact", json!(["logs"])),
    ];
    let said = Runner::drive(preloaded(runner.command(), &env), &steps).await;
    let values = said.values();
    assert_eq!(values[0]["id"], 7, "{}", said.log);
    assert!(values[1].as_i64().unwrap() > 0, "{}", said.log);
    assert_eq!(values[2]["artifact"]["id"], 7, "{}", said.log);
    assert_eq!(values[3], "k", "{}", said.log);
    assert_eq!(std::fs::read(down.join("first")).unwrap(), b"what happened", "{}", said.log);

    let called = results.called();
    for method in
        ["CreateArtifact", "FinalizeArtifact", "ListArtifacts", "GetSignedArtifactURL", "DeleteArtifact"]
    {
        assert!(called.iter().any(|(called, _)| called == method), "{method}: {called:?}");
    }
    let own = format!("Bearer {token}");
    assert!(called.iter().all(|(_, token)| token.as_ref() == Some(&own)), "as they were: {called:?}");
    // Nothing of the cache went there, and nothing of artifacts came here.
    let asked = results.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|(path, _)| !path.contains("Cache")), "{asked:?}");
    let stats = world.cache.stats();
    assert_eq!((stats.saved, stats.hits, stats.misses, stats.errors), (1, 1, 0, 0));
}
