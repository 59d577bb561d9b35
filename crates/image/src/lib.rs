//! Root images: an OCI image from a registry, a layout directory or an archive becomes one read-only squashfs,
//! without root and without unpacking anything to disk. And the writable scratch disk of each machine, and the
//! templates that machines are cloned from.
//!
//! ```text
//! reference → registry | layout → manifest → layers (verified) ─┬─ scan → tree (names only, whiteouts applied)
//!                                                               └─ content ─┴→ tarwrite → tar2sqfs → roots/
//! ```
//!
//! Everything that comes from outside is hostile: documents, archives, registries. Each has its bounds, and what fails
//! leaves nothing behind.

mod blob;
mod budget;
mod cancel;
mod catalog;
mod confined;
mod error;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod keyed;
mod layer;
mod layout;
mod local;
mod manifest;
mod marked_dirs;
mod pull;
mod reference;
mod registry;
pub mod scratch;
mod shelf;
mod sparse;
mod squash;
mod store;
mod tarread;
mod tarwrite;
mod templates;
mod tree;
mod types;
mod unzstd;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use error::ImageError;
pub use shelf::{TemplateInfo, TemplateLimits};
pub use store::Images;
pub use templates::Making;
pub use types::{
    GcPolicy, GcReport, ImageConfig, ImageInfo, ImagesConfig, Limits, LocalSources, Progress, ProgressFn,
    RootImage, Timeouts,
};

/// Runs blocking work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(ImageError::Internal(format!("a worker thread ended early: {e}"))),
    }
}

/// Works on what is shared where it may block: who has the lock may be writing, or removing gigabytes, and no task of the server's is
/// to stand still for that.
async fn locked<C: Send + 'static, T: Send + 'static>(
    shared: &Arc<Mutex<C>>,
    work: impl FnOnce(&mut C) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    let shared = Arc::clone(shared);
    blocking(move || work(&mut lock(&shared))).await
}

/// Locks; what a panicking thread left is still whole, because files are changed before memory.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
