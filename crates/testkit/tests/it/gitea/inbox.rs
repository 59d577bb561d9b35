//! A receiver of webhooks.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// A delivery that came.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) path: String,
    /// By their names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let name = name.to_lowercase();
        self.headers.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }
}

/// What came so far, and how it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    pub(crate) url: String,
    came: Arc<Mutex<Vec<Came>>>,
    status: Arc<Mutex<u16>>,
}

impl Inbox {
    /// Listens on a task of the test's runtime.
    pub(crate) async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inbox = Self { url, came: Arc::default(), status: Arc::new(Mutex::new(200)) };
        let own = inbox.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = own.clone();
                let service = service_fn(move |request| own.clone().answer(request));
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        inbox
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let headers = head.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let came = Came {
            path: head.uri.path().to_owned(),
            headers: headers.collect(),
            body: body.collect().await?.to_bytes(),
        };
        self.came.lock().unwrap().push(came);
        let status = *self.status.lock().unwrap();
        Ok(Response::builder().status(status).body(Full::default()).unwrap())
    }

    /// Answers with this status from now on.
    pub(crate) fn answer_with(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}
