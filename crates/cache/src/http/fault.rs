//! Errors as each of the three dialects says them. What happened on the host's disk is for the host's log alone.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::{Cache, CacheError};

/// Who is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Dialect {
    /// `{"code", "msg"}`, the second version of the service.
    Twirp,
    /// `{"message"}`, the first one.
    Message,
    /// XML, as Azure's storage.
    Azure,
}

/// Renders an error, after noting it.
pub(super) fn answer(cache: &Cache, dialect: Dialect, error: &CacheError) -> Response {
    let words = if error.is_ours() {
        cache.counts().errors.add(1);
        if let CacheError::Bucket { .. } = error {
            // Said once, when it began.
            tracing::debug!(error = %error, "the cache's bucket failed");
        } else {
            tracing::error!(error = %error, "the cache failed");
        }
        match error {
            CacheError::Full => error.to_string(),
            CacheError::Bucket { .. } => {
                "the bucket of the host's cache does not answer, so nothing is saved or found at the moment; the log of the host's server says more".to_owned()
            }
            _ => "the host's cache failed; the log of its server says why".to_owned(),
        }
    } else {
        tracing::debug!(error = %error, "the cache refused a request");
        error.to_string()
    };
    let (status, twirp, azure) = names(error);
    match dialect {
        Dialect::Twirp => {
            let status = twirp_status(twirp);
            (status, axum::Json(json!({"code": twirp, "msg": words}))).into_response()
        }
        Dialect::Message => (status, axum::Json(json!({"message": words, "typeKey": azure}))).into_response(),
        Dialect::Azure => {
            let text = format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{azure}</Code><Message>{}</Message></Error>",
                escaped(&words)
            );
            let mut response = (status, text).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            headers.insert("x-ms-error-code", HeaderValue::from_static(azure));
            response
        }
    }
}

/// The status, and the names in Twirp and at Azure.
fn names(error: &CacheError) -> (StatusCode, &'static str, &'static str) {
    use CacheError as E;
    match error {
        E::Unknown(_) => (StatusCode::UNAUTHORIZED, "unauthenticated", "AuthenticationFailed"),
        E::WriteDenied | E::ReadDenied => {
            (StatusCode::FORBIDDEN, "permission_denied", "AuthorizationPermissionMismatch")
        }
        E::Exists | E::Reserved => (StatusCode::CONFLICT, "already_exists", "BlobAlreadyExists"),
        E::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", "BlobNotFound"),
        E::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_argument", "InvalidInput"),
        E::Range { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "out_of_range", "InvalidRange"),
        E::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "out_of_range", "RequestBodyTooLarge"),
        E::NoLength => (StatusCode::LENGTH_REQUIRED, "invalid_argument", "MissingContentLengthHeader"),
        E::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted", "ServerBusy"),
        E::NoRoom { .. } | E::Full => {
            (StatusCode::INSUFFICIENT_STORAGE, "failed_precondition", "InsufficientStorage")
        }
        E::Stalled(_) | E::Short { .. } => (StatusCode::REQUEST_TIMEOUT, "canceled", "OperationTimedOut"),
        E::Bucket { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "ServerBusy"),
        E::Io { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "InternalError"),
    }
}

fn twirp_status(code: &str) -> StatusCode {
    match code {
        "unauthenticated" => StatusCode::UNAUTHORIZED,
        "permission_denied" => StatusCode::FORBIDDEN,
        "already_exists" => StatusCode::CONFLICT,
        "not_found" | "bad_route" => StatusCode::NOT_FOUND,
        "resource_exhausted" => StatusCode::TOO_MANY_REQUESTS,
        "failed_precondition" => StatusCode::PRECONDITION_FAILED,
        "canceled" => StatusCode::REQUEST_TIMEOUT,
        "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
