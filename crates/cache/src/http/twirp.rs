//! The second version of the service: `github.actions.results.api.v1.CacheService`, in Twirp's JSON.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::auth::{enter, peer};
use super::fault::{Dialect, answer};
use super::receive;
use crate::limits::KEYS;
use crate::sign::Purpose;
use crate::state::Session;
use crate::upload::{Blocks, Parts};
use crate::{Cache, CacheError, Key, Version};

/// Longest request, in bytes.
const LONGEST: usize = 256 << 10;

/// Requests have the fields of all three methods: what a method does not know is not looked at. Fields have both of the
/// spellings that Protobuf's JSON allows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    #[serde(deserialize_with = "text")]
    key: String,
    #[serde(deserialize_with = "text")]
    version: String,
    #[serde(alias = "restoreKeys", deserialize_with = "texts")]
    restore_keys: Vec<String>,
    #[serde(alias = "sizeBytes", deserialize_with = "integer")]
    size_bytes: u64,
}

pub(super) async fn call(
    State(cache): State<Cache>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    match answered(&cache, &method, request).await {
        Ok(Some(value)) => Json(value).into_response(),
        Ok(None) => {
            let words = format!("there is no method '{method}' here, or its request is not application/json");
            (StatusCode::NOT_FOUND, Json(json!({"code": "bad_route", "msg": words}))).into_response()
        }
        // Clients know these words only in an answer that is no error.
        Err(error @ CacheError::WriteDenied) => {
            Json(json!({"ok": false, "message": error.to_string()})).into_response()
        }
        Err(error) => answer(&cache, Dialect::Twirp, &error),
    }
}

async fn answered(cache: &Cache, method: &str, request: Request) -> Result<Option<Value>, CacheError> {
    let (head, body) = request.into_parts();
    let session = enter(cache, None, &head.headers, peer(&head.extensions)).await?;
    let content = head.headers.get(header::CONTENT_TYPE).and_then(|content| content.to_str().ok());
    let content = content.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !content.eq_ignore_ascii_case("application/json") {
        return Ok(None);
    }
    Ok(Some(match method {
        "CreateCacheEntry" => create(cache, &session, body).await?,
        "FinalizeCacheEntryUpload" => finalize(cache, &session, body).await?,
        "GetCacheEntryDownloadURL" => find(cache, &session, body).await?,
        _ => return Ok(None),
    }))
}

async fn asked(body: Body) -> Result<Asked, CacheError> {
    let body = receive::small(body, LONGEST).await?;
    parse(&body)
}

pub(super) fn parse(body: &[u8]) -> Result<Asked, CacheError> {
    serde_json::from_slice(body)
        .map_err(|error| CacheError::Invalid(format!("the request is not as it should be: {error}")))
}

async fn create(cache: &Cache, session: &Session, body: Body) -> Result<Value, CacheError> {
    let asked = asked(body).await?;
    let named = (Version::new(asked.version)?, Key::new(asked.key)?);
    let id = cache.create(session, named, Parts::Blocks(Blocks::default())).await?;
    let address = cache.address(Purpose::Upload, &session.machine, id);
    Ok(json!({"ok": true, "signed_upload_url": address}))
}

async fn finalize(cache: &Cache, session: &Session, body: Body) -> Result<Value, CacheError> {
    let asked = asked(body).await?;
    let place = Cache::writable(&session.grant, Version::new(asked.version)?, Key::new(asked.key)?)?;
    let id = match cache.upload_at(&session.machine, &place) {
        Ok(upload) => cache.finish(upload, asked.size_bytes).await?,
        Err(error) => cache.saved_at(&place, asked.size_bytes).ok_or(error)?,
    };
    Ok(json!({"ok": true, "entry_id": id.to_string()}))
}

async fn find(cache: &Cache, session: &Session, body: Body) -> Result<Value, CacheError> {
    let asked = asked(body).await?;
    let version = Version::new(asked.version)?;
    let keys: Vec<_> = std::iter::once(asked.key).chain(asked.restore_keys).collect();
    if keys.len() > KEYS {
        return Err(CacheError::Invalid(format!("a search has at most {} keys to restore from", KEYS - 1)));
    }
    let keys = keys.into_iter().map(Key::new).collect::<Result<Vec<_>, _>>()?;
    Ok(match cache.find(&session.grant, &version, &keys).await? {
        Some(entry) => json!({
            "ok": true,
            "signed_download_url": cache.address(Purpose::Download, &session.machine, entry.id),
            "matched_key": entry.place.key.as_str(),
        }),
        None => json!({"ok": false}),
    })
}

/// A field that is null is one that is not there.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Protobuf's JSON has integers of 64 bits in quotes, and takes them without.
fn integer<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    use serde::de::Error as _;
    let wrong = || D::Error::custom("a size is a number of bytes");
    match Value::deserialize(from)? {
        Value::Null => Ok(0),
        Value::Number(number) => number.as_u64().ok_or_else(wrong),
        Value::String(text) => text.parse().map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
