//! The cache's HTTP interface.
//!
//! ```text
//! POST /twirp/github.actions.results.api.v1.CacheService/METHOD    version 2; the token is in the header
//! PUT, GET, HEAD /blobs/…                                          content, by signed addresses
//! …    [/TOKEN]/_apis/artifactcache/…                              version 1; the token is in the path or the header
//! ```

mod auth;
mod blob;
mod block_list;
mod fault;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod query;
mod range;
mod receive;
mod twirp;
mod v1;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, patch, post, put};

use crate::Cache;

/// All routes. Whoever serves them puts a `ConnectInfo<SocketAddr>` into each request: tokens are good from their
/// machine's address alone.
pub fn router(cache: Cache) -> Router {
    let v1 = Router::new()
        .route("/_apis/artifactcache/cache", get(v1::find))
        .route("/_apis/artifactcache/caches", get(v1::list).post(v1::reserve))
        .route("/_apis/artifactcache/caches/{id}", patch(v1::upload).post(v1::commit));
    Router::new()
        .route("/twirp/github.actions.results.api.v1.CacheService/{method}", post(twirp::call))
        .route("/blobs/up/{machine}/{id}", put(blob::put))
        .route("/blobs/down/{machine}/{id}", get(blob::get))
        .merge(v1.clone())
        .nest("/{token}", v1)
        .fallback(async || (StatusCode::NOT_FOUND, "there is nothing here; this is a cache of CI jobs\n"))
        // Each handler bounds its body itself.
        .layer(DefaultBodyLimit::disable())
        .with_state(cache)
}
