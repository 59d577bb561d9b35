//! The page that people look at in a browser: `/` and `/assets/…`, from the bundle that was there when this was built.
//!
//! Nothing in it is anybody's: it is the same for all, and asks the API for what it shows. So it needs no login.

mod answer;
mod bundle;
mod headers;

use axum::Router;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::middleware;
use axum::response::Response;
use axum::routing::get;

/// Whether the page was there when this was built.
pub fn is_built() -> bool {
    bundle::find("index.html").is_some()
}

/// Serves the page.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| index(&headers)))
        .route(
            "/assets/{name}",
            get(async |Path(name): Path<String>, headers: HeaderMap| asset(&name, &headers)),
        )
        .layer(middleware::map_response(headers::set))
}

fn index(headers: &HeaderMap) -> Response {
    match bundle::find("index.html") {
        // Its name stays when it changes, so it is asked for each time, by its tag.
        Some(file) => answer::file(file, "no-cache", headers),
        None => answer::unbuilt(),
    }
}

fn asset(name: &str, headers: &HeaderMap) -> Response {
    match bundle::find(&format!("assets/{name}")) {
        // Its name has a hash of its content.
        Some(file) => answer::file(file, "public, max-age=31536000, immutable", headers),
        None => answer::absent(),
    }
}
