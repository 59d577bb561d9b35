//! Taking in a body, a piece at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::upload::{Claim, Extent, Parts, Upload};
use crate::{Cache, CacheError};

/// What is kept in memory of one body before it is written.
const PIECE: usize = 256 << 10;
/// Longest body that is read to its end though it is refused. GitHub's clients send no longer ones.
const REFUSED: u64 = 128 << 20;
/// How long a client may say nothing in the middle of a body.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// The length of a body, which must be told.
pub(super) fn length(body: &Body) -> Result<u64, CacheError> {
    body.size_hint().exact().ok_or(CacheError::NoLength)
}

/// Takes in a body as a part of an upload, the one that `allocate` gives. What has come whole is then made part of the content by
/// `account`.
pub(super) async fn store(
    cache: &Cache,
    upload: &Arc<Upload>,
    body: Body,
    allocate: impl FnOnce(&mut Parts) -> Result<Extent, CacheError>,
    account: impl FnOnce(Extent) -> Result<(), CacheError>,
) -> Result<(), CacheError> {
    let mut body = body.into_data_stream();
    let received = async {
        let claim = cache.claim(upload, allocate).await?;
        receive(cache, upload, &claim, &mut body).await?;
        // From here on, the part is what the list of parts makes of it.
        claim.keep();
        account(claim.extent())
    };
    let received = received.await;
    if received.is_err() {
        drain(body).await;
    }
    received
}

/// Writes a body to the part that was claimed for it. All of it has come and is written when this returns.
async fn receive(
    cache: &Cache,
    upload: &Upload,
    claim: &Arc<Claim>,
    body: &mut BodyDataStream,
) -> Result<(), CacheError> {
    let announced = claim.extent().len;
    let (mut got, mut written) = (0, 0);
    let (mut pieces, mut held) = (Vec::new(), 0);
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(SILENCE, body.next()) => next,
            () = upload.over() => return Err(CacheError::NotFound("open upload")),
        };
        let next = next.map_err(|_| CacheError::Stalled(SILENCE))?;
        let short = CacheError::Short { got, announced };
        let piece: Option<Bytes> = next.transpose().map_err(|error| {
            tracing::debug!(%error, "an upload was cut");
            short
        })?;
        let over = piece.is_none();
        if let Some(piece) = piece {
            got += piece.len() as u64;
            if got > announced {
                return Err(CacheError::Invalid(format!(
                    "more than the {announced} bytes that were announced came"
                )));
            }
            held += piece.len();
            pieces.push(piece);
        }
        if held >= PIECE || (over && held > 0) {
            Upload::write(claim, written, std::mem::take(&mut pieces)).await?;
            (written, held) = (got, 0);
            upload.touch(cache.now());
        }
        if over {
            break;
        }
    }
    if got < announced {
        return Err(CacheError::Short { got, announced });
    }
    cache.counts().received.add(got);
    Ok(())
}

/// Reads what is left of a body that is refused. A client that still sends does not listen: it would see its connection
/// fail, try again, and never be told why.
async fn drain(mut body: BodyDataStream) {
    let mut read = 0;
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(SILENCE, body.next()).await {
        read += piece.len() as u64;
        if read > REFUSED {
            break;
        }
    }
}

/// A small body, whole.
pub(super) async fn small(body: Body, most: usize) -> Result<Bytes, CacheError> {
    let read = tokio::time::timeout(SILENCE, axum::body::to_bytes(body, most)).await;
    read.map_err(|_| CacheError::Stalled(SILENCE))?
        .map_err(|_| CacheError::Invalid(format!("the request was cut, or is larger than {most} bytes")))
}
