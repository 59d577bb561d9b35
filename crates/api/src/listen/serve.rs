//! Serving a listener: a limited number of connections at once, each with a deadline for its next request's head.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::peers::{Connections, Peers};
use super::stall::Stalling;
use crate::{Api, Peer};

/// How long open requests may go on after the server closes. Those that are slow are answered before
/// (see `server::deadline`); what is left then is a peer that does not read.
const GRACE: Duration = Duration::from_secs(5);
/// Until the head of a connection's first or next request is there. Whoever says nothing for longer is gone or means
/// harm.
pub(crate) const HEAD: Duration = Duration::from_secs(15);
/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Until a peer takes some of what it is sent.
const STALLED: Duration = Duration::from_secs(60);

/// A connection that can say who is at its other end.
pub trait FromPeer {
    /// `None` when the kernel does not know it any more.
    fn peer(&self) -> Option<Peer>;
}

impl FromPeer for TcpStream {
    fn peer(&self) -> Option<Peer> {
        self.peer_addr().ok().map(Peer::Remote)
    }
}

impl FromPeer for UnixStream {
    fn peer(&self) -> Option<Peer> {
        Some(Peer::Local { uid: self.peer_cred().ok().map(|process| process.uid()) })
    }
}

/// Serves `router` until `api` is closed, then lets open requests end for a few seconds. While `api` is paused no
/// connection is taken: those that come wait in the socket's backlog for whoever serves it next.
///
/// At most so many `connections` are open at once; the others wait in the backlog as well. Before a caller is known, all that it
/// can hold is one of these places, until [`HEAD`] is over. What is more than one address may have is closed again.
pub async fn serve<L>(
    listener: L,
    router: Router,
    api: Api,
    connections: impl Into<Connections>,
) -> io::Result<()>
where
    L: Listener,
    L::Io: Unpin + FromPeer,
{
    serve_until(listener, router, api.pausing().clone(), api.closing().clone(), connections).await
}

/// The same without an API: until `closing`, and no connection is taken from `pausing` on.
pub async fn serve_until<L>(
    mut listener: L,
    router: Router,
    pausing: CancellationToken,
    closing: CancellationToken,
    connections: impl Into<Connections>,
) -> io::Result<()>
where
    L: Listener,
    L::Io: Unpin + FromPeer,
{
    let Connections { all, each } = connections.into();
    let (places, peers) = (Arc::new(Semaphore::new(all)), Peers::new(each));
    let tasks = TaskTracker::new();
    // Whoever is left when this ends is cut off.
    let over = CancellationToken::new();
    let _over = over.clone().drop_guard();
    let accept = async {
        // The place first: a connection that is taken is served at once.
        while let Ok(place) = places.clone().acquire_owned().await {
            let (io, _) = listener.accept().await;
            let peer = io.peer();
            let Some(own) = peers.enter(peer) else { continue };
            let connection = connection(io, peer, router.clone(), closing.clone());
            let over = over.clone();
            tasks.spawn(async move {
                let _ = over.run_until_cancelled(connection).await;
                drop((place, own));
            });
        }
    };
    // A graceful shutdown closes connections that were taken and have not said anything yet, and their clients see an
    // error; so the server stops to accept a moment before it closes.
    tokio::select! {
        () = accept => {}
        () = pausing.cancelled() => {}
        () = closing.cancelled() => {}
    }
    closing.cancelled().await;
    tasks.close();
    let _ = tokio::time::timeout(GRACE, tasks.wait()).await;
    Ok(())
}

/// One connection to its end.
async fn connection<I>(io: I, peer: Option<Peer>, router: Router, closing: CancellationToken)
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    let io = TokioIo::new(Stalling::new(io, STALLED));
    let routes = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        routes.call(request)
    });
    let mut served = pin!(http.serve_connection(io, service).with_upgrades());
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        // A peer that goes away in the middle is no news.
        tracing::debug!(%error, "a connection ended early");
    }
}
