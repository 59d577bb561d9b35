//! Servers on real sockets around an engine in memory. Only the API is under test here.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "each test file uses a part of this"
)]

mod fake;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fireactions_api::*;
use tokio::task::JoinHandle;

pub use fake::*;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A server on a Unix socket in a directory of its own.
pub struct Server {
    pub fake: Arc<Fake>,
    pub api: Api,
    pub client: Client,
    pub socket: PathBuf,
    serving: JoinHandle<std::io::Result<()>>,
    _dir: tempfile::TempDir,
}

pub async fn serve(limits: Limits) -> Server {
    let fake = Fake::new();
    let api = Api::new(fake.clone(), limits);
    serve_api(fake, api, limits).await
}

/// The same with metrics under the names of other programs, too.
pub async fn serve_compat() -> Server {
    let fake = Fake::new();
    let api = Api::new(fake.clone(), Limits::default()).with_compat_metrics();
    serve_api(fake, api, Limits::default()).await
}

/// An API around `fake`, as `with` completes it.
pub async fn serve_with(fake: Arc<Fake>, with: impl FnOnce(Api) -> Api) -> Server {
    let api = with(Api::new(fake.clone(), Limits::default()));
    serve_api(fake, api, Limits::default()).await
}

async fn serve_api(fake: Arc<Fake>, api: Api, limits: Limits) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let listener = listen::bind_unix(&socket, 0o660, None).await.unwrap();
    let connections = limits.connections;
    let serving = tokio::spawn(listen::serve(listener, api.router(Auth::Socket), api.clone(), connections));
    let client = Client::new(Target::Socket(socket.clone()), None).unwrap();
    Server { fake, api, client, socket, serving, _dir: dir }
}

impl Server {
    /// Closes and waits until the listener has ended.
    pub async fn end(self) {
        self.api.close();
        tokio::time::timeout(Duration::from_secs(10), self.serving).await.unwrap().unwrap().unwrap();
    }
}

/// A server on loopback TCP; gives its URL.
pub async fn serve_tcp(token: Option<&str>) -> (Api, String) {
    let key = |token| Key { name: "boss".into(), role: Role::Admin, token: Token::new(token).unwrap() };
    serve_keys(token.map(key).into_iter().collect()).await
}

/// The same for whoever has one of these keys.
pub async fn serve_keys(keys: Vec<Key>) -> (Api, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = listen::authority(listener.local_addr().unwrap(), &keys).unwrap();
    let api = Api::new(Fake::new(), Limits::default()).with_keys(keys, None);
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(listen::serve(listener, api.router(auth), api.clone(), 512));
    (api, url)
}

/// A raw request over a Unix socket: status and body.
pub async fn raw(socket: &Path, request: reqwest::Request) -> (u16, String) {
    let http = reqwest::Client::builder().unix_socket(socket).build().unwrap();
    let answer = http.execute(request).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}
