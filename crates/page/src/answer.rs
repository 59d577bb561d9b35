//! Answers.

use std::io::Read as _;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;

use crate::bundle::File;

/// The most that a file of the page may be; those that are in the program are a fraction of it.
const LARGEST: u64 = 16 << 20;

const UNBUILT: &str = "fireactions: this program was built without its page.\n\n\
    Install Node.js 20 or newer with npm, run `scripts/build-page`, and build again; `make build` does both.\n\
    The API and the command line have all that the page has: see `fireactions --help` and /openapi.json.\n";

/// The file, or that it has not changed.
pub(crate) fn file(file: &File, caching: &'static str, asked: &HeaderMap) -> Response {
    let common = [
        (header::ETAG, file.tag),
        (header::CACHE_CONTROL, caching),
        (header::VARY, "accept-encoding"),
        (header::CONTENT_TYPE, media_type(file.path)),
    ];
    if says(asked, header::IF_NONE_MATCH, |tag| tag.trim_start_matches("W/") == file.tag || tag == "*") {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    if says(asked, header::ACCEPT_ENCODING, accepts_gzip) {
        let encoded = [(header::CONTENT_ENCODING, "gzip")];
        return (common, encoded, Body::from(file.gzip)).into_response();
    }
    let mut plain = Vec::new();
    match GzDecoder::new(file.gzip).take(LARGEST).read_to_end(&mut plain) {
        Ok(_) => (common, plain).into_response(),
        Err(error) => {
            let why = format!("{} is damaged in this program: {error}; build it again\n", file.path);
            (StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
        }
    }
}

/// In the page's place.
pub(crate) fn unbuilt() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], UNBUILT).into_response()
}

/// For a name that no file has: of another version, perhaps, which a tab still shows.
pub(crate) fn absent() -> Response {
    let why = "the page of this server has no such file: load the page again\n";
    (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "no-store")], why).into_response()
}

/// Whether one of a header's parts, which commas separate, is so.
fn says(headers: &HeaderMap, name: header::HeaderName, wanted: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| wanted(part.trim()))
}

fn accepts_gzip(part: &str) -> bool {
    let (coding, weight) = part.split_once(';').unwrap_or((part, ""));
    let refused = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()) == Some(0.0);
    matches!(coding.trim(), "gzip" | "*") && !refused
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_accepts_is_what_it_gets() {
        for yes in ["gzip", "gzip;q=0.5", "*", "gzip ; q=1"] {
            assert!(accepts_gzip(yes), "{yes}");
        }
        for no in ["br", "gzip;q=0", "gzip; q=0.0", "identity", "x-gzip-not"] {
            assert!(!accepts_gzip(no), "{no}");
        }
        assert_eq!(media_type("assets/main-AB.js"), "text/javascript; charset=utf-8");
        assert_eq!(media_type("assets/none"), "application/octet-stream");
    }
}
