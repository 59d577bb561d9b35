//! A server that keeps what it is asked and answers what it is told to.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fireactions_vmm::firecracker::api::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// A request as it came over the socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names are in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
}

/// What is answered to everything but `GET /version`.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

#[derive(Debug)]
pub(crate) struct Recorder {
    version: String,
    reply: Mutex<Reply>,
    received: Mutex<Vec<Received>>,
}

impl Recorder {
    /// Starts one that is that version, and a client of it. It ends with the test's runtime.
    pub(crate) async fn start(version: &str) -> (TempDir, Arc<Self>, Client) {
        let dir = TempDir::new().unwrap();
        let path: PathBuf = dir.path().join("api.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let recorder = Arc::new(Self {
            version: version.into(),
            reply: Mutex::new(Reply { status: 204, body: String::new() }),
            received: Mutex::default(),
        });
        let server = recorder.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        let client = Client::ready(path, Duration::from_secs(20)).await.unwrap();
        recorder.take();
        (dir, recorder, client)
    }

    /// What is answered from now on.
    pub(crate) fn answer(&self, status: u16, body: &str) {
        *self.reply.lock().unwrap() = Reply { status, body: body.into() };
    }

    /// What has been asked since the last time.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap())
    }

    async fn serve(&self, mut stream: UnixStream) {
        let Some(request) = receive(&mut stream).await else { return };
        let ready = request.path == "/version";
        self.received.lock().unwrap().push(request);
        let reply = self.reply.lock().unwrap().clone();
        let reply = if ready && reply.status == 204 {
            Reply { status: 200, body: format!("{{\"firecracker_version\":\"{}\"}}", self.version) }
        } else {
            reply
        };
        // As Firecracker's own server words it: no reason phrase, and no length with 204.
        let length = if reply.status == 204 {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", reply.body.len())
        };
        let head = format!(
            "HTTP/1.1 {} \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n{length}\r\n",
            reply.status
        );
        let _ = stream.write_all(format!("{head}{}", reply.body).as_bytes()).await;
        // The client closes.
        let _ = stream.read(&mut [0]).await;
    }
}

/// One request; nothing when the connection was closed without one.
async fn receive(stream: &mut UnixStream) -> Option<Received> {
    let mut text = Vec::new();
    let end = loop {
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8(text[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    assert_eq!(first.next(), Some("HTTP/1.1"));
    let headers: Vec<_> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    while text.len() < end + 4 + length {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "the body is complete");
    }
    let body = &text[end + 4..];
    assert_eq!(body.len(), length, "nothing follows the body");
    let body = (length > 0).then(|| serde_json::from_slice(body).unwrap());
    Some(Received { method, path, headers, body })
}
