//! One request of HTTP at a connection of its own, whose answer is read as it comes.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// Until the head of an answer: what answers may have to ask elsewhere first.
const HEAD: Duration = Duration::from_secs(60);

/// Sends a request and takes the head of its answer. The connection ends with the answer's body.
pub(super) async fn ask<S>(io: S, request: Request<Body>) -> io::Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        // It ends when the body has been read, or is dropped.
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    match timeout(HEAD, exchange).await {
        Ok(answer) => answer.map_err(io::Error::other),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {HEAD:?}"))),
    }
}
