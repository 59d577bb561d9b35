//! The image store.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use fireactions_model::{Digest, ImageRef, PullPolicy};

use crate::{GcPolicy, GcReport, ImageError, ImageInfo, ImagesConfig, ProgressFn, RootImage};

/// Every root image of a server. Clones share one store.
#[derive(Clone)]
pub struct Images {
    _inner: Arc<()>,
}

impl Images {
    /// Opens the store in `dir`, making it where needed.
    pub fn open(dir: &Path, config: ImagesConfig) -> Result<Self, ImageError> {
        let _ = (dir, config);
        Err(ImageError::Internal("not written yet".into()))
    }

    /// Makes `image` ready. Callers asking for the same image share one pull.
    pub async fn ensure(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: Option<ProgressFn>,
    ) -> Result<RootImage, ImageError> {
        let _ = (image, policy, progress);
        Err(ImageError::Internal("not written yet".into()))
    }

    /// Everything stored.
    pub async fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        Ok(Vec::new())
    }

    /// Removes by name or digest prefix.
    pub async fn remove(&self, what: &str, in_use: &HashSet<Digest>) -> Result<Vec<Digest>, ImageError> {
        let _ = (what, in_use);
        Ok(Vec::new())
    }

    /// Collects garbage.
    pub async fn gc(&self, policy: GcPolicy, in_use: &HashSet<Digest>) -> Result<GcReport, ImageError> {
        let _ = (policy, in_use);
        Ok(GcReport::default())
    }
}
