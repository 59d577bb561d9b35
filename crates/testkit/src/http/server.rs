//! The way of a connection: accepted, maybe encrypted, asked, answered, broken.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::message::{Ask, Cut, Reply, query};
use super::shared::{Shared, Site, TICK};

/// The longest body of a request.
const BODY: usize = 8 << 20;

/// Accepts connections and does what the site does by itself, until it is stopped.
pub(crate) fn serve<S: Site>(
    shared: Arc<Shared<S>>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
) -> impl Future<Output = ()> + Send + use<S> {
    let mut stopped = shared.stopped();
    async move {
        let run = async {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut tasks = JoinSet::new();
            tasks.spawn(S::work(shared.clone()));
            let mut tick = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((stream, _)) = accepted.and_then(|(stream, from)| Ok((stream.into_std()?, from))) {
                            tasks.spawn(connection(shared.clone(), stream, tls.clone()));
                        }
                    }
                    _ = tick.tick() => {
                        shared.with(|_| ());
                        while tasks.try_join_next().is_some() {}
                    }
                }
            }
        };
        tokio::select! {
            () = run => {}
            _ = stopped.changed() => {}
        }
    }
}

async fn connection<S: Site>(shared: Arc<Shared<S>>, stream: std::net::TcpStream, tls: Option<TlsAcceptor>) {
    // Kept to make the kernel send a reset instead of an orderly end.
    let Ok(kept) = stream.try_clone().map(OwnedFd::from) else { return };
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let _ = stream.set_nodelay(true);
    let reset = match tls {
        None => exchange(shared, stream).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => exchange(shared, stream).await,
            // The client does not trust the certificate, or does not speak TLS.
            Err(_) => false,
        },
    };
    if reset {
        let _ = rustix::net::sockopt::set_socket_linger(&kept, Some(Duration::ZERO));
    }
}

/// Answers what comes; says whether the connection is to be reset.
async fn exchange<S: Site>(
    shared: Arc<Shared<S>>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> bool {
    let reset = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| {
        let (shared, reset) = (shared.clone(), reset.clone());
        async move {
            let reply = answer(shared, request).await;
            reset.store(reply.is_err(), Ordering::Relaxed);
            reply.map(response)
        }
    });
    let http = hyper::server::conn::http1::Builder::new();
    tokio::select! {
        _ = http.serve_connection(TokioIo::new(stream), service) => {}
        // An idle connection breaks as well: a client would send its next request over it.
        () = shared.down() => reset.store(true, Ordering::Relaxed),
    }
    reset.load(Ordering::Relaxed)
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(reply.body.into())).unwrap_or_else(|_| Response::new(Full::default()))
}

async fn answer<S: Site>(shared: Arc<Shared<S>>, request: Request<Incoming>) -> Result<Reply, Cut> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY).collect().await.map_err(|_| Cut)?.to_bytes();
    let ask = Ask {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: query(head.uri.query().unwrap_or("")),
        headers: head.headers,
        body,
    };
    S::answer(shared, ask).await
}
