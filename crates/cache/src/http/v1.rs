//! The first version of the service, `_apis/artifactcache`: what the runners of Gitea and Forgejo give their jobs, and
//! what older actions speak everywhere.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{enter, peer};
use super::fault::{Dialect, answer};
use super::{query, range, receive};
use crate::index::Entry;
use crate::limits::KEYS;
use crate::sign::Purpose;
use crate::upload::{Coverage, Extent, Parts, Upload};
use crate::{Cache, CacheError, Key, Version};

/// Longest request that is no part of an entry, in bytes.
const LONGEST: usize = 256 << 10;
/// Most entries of a list, which is for diagnostics.
const LISTED: usize = 100;

/// The parts of a path: a token, if it has one, and an upload's number.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    token: Option<String>,
    id: Option<String>,
}

impl Named {
    fn id(&self) -> Result<u64, CacheError> {
        let id = self.id.as_ref().and_then(|id| id.parse().ok());
        id.ok_or(CacheError::NotFound("open upload"))
    }
}

#[derive(Debug, Deserialize)]
struct Reserve {
    key: String,
    version: String,
    #[serde(rename = "cacheSize")]
    size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Commit {
    size: u64,
}

fn answered(cache: &Cache, result: Result<Response, CacheError>) -> Response {
    result.unwrap_or_else(|error| answer(cache, Dialect::Message, &error))
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, CacheError> {
    serde_json::from_slice(body)
        .map_err(|error| CacheError::Invalid(format!("the request is not as it should be: {error}")))
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn parse_reserve(body: &[u8]) -> Result<(), CacheError> {
    parse::<Reserve>(body).map(drop)
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn parse_commit(body: &[u8]) -> Result<(), CacheError> {
    parse::<Commit>(body).map(drop)
}

async fn asked<T: serde::de::DeserializeOwned>(body: Body) -> Result<T, CacheError> {
    parse(&receive::small(body, LONGEST).await?)
}

/// `GET cache?keys=A,B&version=V`: 200 with where the content is, or 204.
pub(super) async fn find(
    State(cache): State<Cache>,
    Path(named): Path<Named>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let find = async {
        let session = enter(&cache, named.token.as_deref(), &head.headers, peer(&head.extensions)).await?;
        let query = query.unwrap_or_default();
        let version = Version::new(query::value(&query, "version").unwrap_or_default())?;
        let keys = query::value(&query, "keys").unwrap_or_default();
        let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
        let keys = keys.take(KEYS + 1).map(Key::new).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() || keys.len() > KEYS {
            return Err(CacheError::Invalid(format!("a search has 1 to {KEYS} keys")));
        }
        let Some(entry) = cache.find(&session.grant, &version, &keys).await? else {
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        let mut found = shown(&entry);
        found["archiveLocation"] = cache.address(Purpose::Download, &session.machine, entry.id).into();
        found["result"] = "hit".into();
        Ok(Json(found).into_response())
    };
    answered(&cache, find.await)
}

/// `GET caches?key=PREFIX`: what clients print when they found nothing and are asked to say more.
pub(super) async fn list(
    State(cache): State<Cache>,
    Path(named): Path<Named>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let list = async {
        let session = enter(&cache, named.token.as_deref(), &head.headers, peer(&head.extensions)).await?;
        let prefix = query::value(&query.unwrap_or_default(), "key").unwrap_or_default();
        let entries = cache.list(&session.grant, &prefix, LISTED);
        let entries: Vec<_> = entries.iter().map(shown).collect();
        Ok(Json(json!({"totalCount": entries.len(), "artifactCaches": entries})).into_response())
    };
    answered(&cache, list.await)
}

fn shown(entry: &Entry) -> Value {
    let created = jiff::Timestamp::try_from(entry.created).unwrap_or_default();
    json!({
        "cacheKey": entry.place.key.as_str(),
        "cacheVersion": entry.place.version.as_str(),
        "scope": entry.place.scope.0,
        "creationTime": created.to_string(),
    })
}

/// `POST caches`: begins an upload.
pub(super) async fn reserve(
    State(cache): State<Cache>,
    Path(named): Path<Named>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let reserve = async {
        let session = enter(&cache, named.token.as_deref(), &head.headers, peer(&head.extensions)).await?;
        let asked: Reserve = asked(body).await?;
        let limit = cache.largest();
        if asked.size.is_some_and(|size| size > limit) {
            return Err(CacheError::TooLarge { what: "the cache entry", limit });
        }
        let named = (Version::new(asked.version)?, Key::new(asked.key)?);
        let id = cache.create(&session, named, Parts::Ranges(Coverage::default())).await?;
        Ok((StatusCode::CREATED, Json(json!({"cacheId": id}))).into_response())
    };
    answered(&cache, reserve.await)
}

/// `PATCH caches/ID` with `Content-Range`: a part of the content.
pub(super) async fn upload(
    State(cache): State<Cache>,
    Path(named): Path<Named>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let upload = async {
        let session = enter(&cache, named.token.as_deref(), &head.headers, peer(&head.extensions)).await?;
        let upload = cache.upload(&session.machine, named.id()?)?;
        upload.touch(cache.now());
        let range = head.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let (at, len) = range::incoming(range.unwrap_or_default())?;
        store(&cache, &upload, Extent { at, len }, body).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answered(&cache, upload.await)
}

async fn store(cache: &Cache, upload: &Arc<Upload>, extent: Extent, body: Body) -> Result<(), CacheError> {
    // Where its length is not told, the body must still be as long as the range.
    let disagrees = receive::length(&body).is_ok_and(|length| length != extent.len);
    let limit = cache.largest();
    let allocate = |parts: &mut Parts| match parts {
        _ if disagrees => {
            Err(CacheError::Invalid("Content-Range and Content-Length do not agree".to_owned()))
        }
        Parts::Ranges(coverage) => coverage.begin(extent, limit),
        Parts::Blocks(_) => Err(CacheError::NotFound("upload in ranges")),
    };
    receive::store(cache, upload, body, allocate, |_| upload.ranges(|coverage| coverage.add(extent))).await
}

/// `POST caches/ID`: the content is there, and so long.
pub(super) async fn commit(
    State(cache): State<Cache>,
    Path(named): Path<Named>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let commit = async {
        let session = enter(&cache, named.token.as_deref(), &head.headers, peer(&head.extensions)).await?;
        let id = named.id()?;
        let asked: Commit = asked(body).await?;
        match cache.upload(&session.machine, id) {
            Ok(upload) => {
                cache.finish(upload, asked.size).await?;
            }
            Err(error) if !cache.is_saved(&session.grant, id, asked.size) => return Err(error),
            Err(_) => {}
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answered(&cache, commit.await)
}
