//! What a browser is told about the page, so that it does nothing else than the page should.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Scripts are the page's own files and nothing else. The terminal writes its own rules of style, so those may be inline;
/// a style cannot ask for anything either, for all addresses are this server's.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // A page that opened this one has no hold on it.
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Sets them.
pub(crate) async fn set(mut answer: Response) -> Response {
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
