//! The blobs of signed addresses, as Azure's clients ask for them: Put Blob, Put Block, Put Block List, and ranges of
//! what is there. There is nothing to copy, list or delete.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;

use super::auth::{Address, peer};
use super::fault::{Dialect, answer};
use super::{block_list, query, range, receive};
use crate::blocking::blocking;
use crate::sign::Purpose;
use crate::upload::{BlockId, Parts, Upload};
use crate::{Cache, CacheError};

/// The version of Azure's protocol that clients are told.
const AZURE: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-ms-version"), HeaderValue::from_static("2021-08-06"));

pub(super) async fn put(
    State(cache): State<Cache>,
    Path((machine, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let query = query.unwrap_or_default();
    let put = async {
        let address = Address::parse(&machine, &id, &query)?;
        let session = address.enter(&cache, Purpose::Upload, peer(request.extensions())).await?;
        let upload = cache.upload(&session.machine, address.id)?;
        upload.touch(cache.now());
        let comp = query::value(&query, "comp");
        match comp.as_deref() {
            Some("blocklist") => {
                let alone = tokio::time::timeout(receive::SILENCE, session.lists.acquire_owned()).await;
                let Ok(Ok(alone)) = alone else {
                    return Err(CacheError::TooMany("1 list of blocks".to_owned()));
                };
                let list = receive::small(request.into_body(), block_list::LONGEST).await?;
                let limit = cache.largest();
                // A long one takes a processor's time, and what must not wait for that is elsewhere.
                blocking(move || {
                    let _alone = alone;
                    let list = std::str::from_utf8(&list)
                        .map_err(|_| CacheError::Invalid("the block list is no UTF-8".to_owned()))?;
                    let ids = block_list::parse(list)?;
                    upload.blocks(|blocks| blocks.list(ids, limit))
                })
                .await
            }
            Some("block") => {
                let id = query::value(&query, "blockid");
                let id = block_list::id(&id.unwrap_or_default())?;
                store(&cache, &upload, Some(id), request.into_body()).await
            }
            None => store(&cache, &upload, None, request.into_body()).await,
            Some(_) => {
                let words = "only blobs, blocks and block lists can be put here";
                Err(CacheError::Invalid(words.to_owned()))
            }
        }
    };
    match put.await {
        Ok(()) => {
            let unencrypted = HeaderName::from_static("x-ms-request-server-encrypted");
            let headers = [AZURE, (header::ETAG, etag(0)), (unencrypted, HeaderValue::from_static("false"))];
            (StatusCode::CREATED, headers).into_response()
        }
        Err(error) => answer(&cache, Dialect::Azure, &error),
    }
}

/// Takes in a block, or the whole content if it has no name.
async fn store(
    cache: &Cache,
    upload: &Arc<Upload>,
    block: Option<BlockId>,
    body: Body,
) -> Result<(), CacheError> {
    let len = receive::length(&body)?;
    let limit = cache.largest();
    let allocate = |parts: &mut Parts| match parts {
        Parts::Blocks(blocks) => blocks.allocate(len, limit),
        Parts::Ranges(_) => Err(CacheError::NotFound("upload in blocks")),
    };
    let account = |extent| {
        upload.blocks(|blocks| {
            if let Some(id) = block {
                return blocks.stage(id, extent);
            }
            blocks.whole(extent);
            Ok(())
        })
    };
    receive::store(cache, upload, body, allocate, account).await
}

pub(super) async fn get(
    State(cache): State<Cache>,
    Path((machine, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let query = query.unwrap_or_default();
    let (head, _) = request.into_parts();
    let get = async {
        let address = Address::parse(&machine, &id, &query)?;
        let session = address.enter(&cache, Purpose::Download, peer(&head.extensions)).await?;
        let entry = cache.readable(&session.grant, address.id).await?;
        let asked = wanted(&head.headers);
        let (from, len) = match &asked {
            // There is no range in nothing, and clients ask for one.
            Some(asked) if entry.size > 0 => range::part(asked, entry.size)?,
            _ => (0, entry.size),
        };
        // Whoever asks for the head alone is sent nothing.
        let wanted = if head.method == Method::HEAD { (0, 0) } else { (from, len) };
        let counting = cache.clone();
        let pieces = cache.read(&entry, wanted).await?.inspect(move |piece| {
            // The job's request lasts as long as its answer.
            let _lasts = &session.place;
            counting.counts().sent.add(piece.as_ref().map_or(0, |piece| piece.len() as u64));
        });
        let mut response = Body::from_stream(pieces).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, len.into());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::ETAG, etag(entry.id));
        headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
        headers.insert(AZURE.0, AZURE.1);
        if let Ok(date) = httpdate(entry.created) {
            headers.insert(header::LAST_MODIFIED, date);
        }
        if asked.is_some() && entry.size > 0 {
            let range = format!("bytes {from}-{}/{}", from + len - 1, entry.size);
            if let Ok(range) = HeaderValue::try_from(range) {
                headers.insert(header::CONTENT_RANGE, range);
            }
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        Ok(response)
    };
    match get.await {
        Ok(response) => response,
        Err(error) => answer(&cache, Dialect::Azure, &error),
    }
}

/// The range that is asked for. Azure's own header comes before the standard's.
fn wanted(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-ms-range").or_else(|| headers.get(header::RANGE))?;
    // What is no text is no range either, and is refused as one.
    Some(value.to_str().unwrap_or("?").to_owned())
}

/// An entry does not change, so that its number says it all.
fn etag(id: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{id:x}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

fn httpdate(time: std::time::SystemTime) -> Result<HeaderValue, ()> {
    let time = jiff::Timestamp::try_from(time).map_err(|_| ())?;
    let text = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::try_from(text).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::upload::Blocks;
    use crate::{Grant, Key, Options, Repository, Version};

    /// Time passes as soon as everybody waits for it.
    #[tokio::test(start_paused = true)]
    async fn one_list_of_a_job_is_in_memory_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Options::new(dir.path(), "http://x")).unwrap();
        let mut jobs = Vec::new();
        for number in [1, 2] {
            let machine = fireactions_model::MachineId::from_random([number; 8]);
            let token = cache.admit(&machine, Grant::branch(Repository("o/r".to_owned()), "main", "main"));
            let session = cache.enter(token.expose(), None).await.unwrap();
            let named = (Version::new("v").unwrap(), Key::new(number.to_string()).unwrap());
            let id = cache.create(&session, named, Parts::Blocks(Blocks::default())).await.unwrap();
            let address = cache.address(Purpose::Upload, &machine, id);
            jobs.push((machine, id, format!("{}&comp=blocklist", address.split_once('?').unwrap().1)));
        }
        let list = |job: usize, body: Body| {
            let (machine, id, query) = jobs[job].clone();
            let path = Path((machine.to_string(), id.to_string()));
            put(State(cache.clone()), path, RawQuery(Some(query)), Request::new(body))
        };
        let whole = || Body::from("<BlockList/>");
        let slow = Body::from_stream(futures_util::stream::pending::<io::Result<Bytes>>());
        let mut slow = Box::pin(list(0, slow));
        assert!((&mut slow).now_or_never().is_none());
        assert_eq!(list(1, whole()).await.status(), StatusCode::CREATED);
        assert_eq!(list(0, whole()).await.status(), StatusCode::TOO_MANY_REQUESTS);
        drop(slow);
        assert_eq!(list(0, whole()).await.status(), StatusCode::CREATED);
    }
}
