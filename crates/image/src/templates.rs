//! Templates of machines: guests that were booted once and frozen. They are kept with the image that they run, and go
//! with it, for a frozen kernel knows its root image by place and not by name.
//!
//! ```text
//! templates/HEX/           what the VMM wrote, and template.json, the record
//! templates/.making-HEX/   being made, or being removed; removed at open
//! ```
//!
//! A template is whole or absent: it is synced, then appears by rename, and its record goes first. Removal is always
//! safe: the machines that run as its clones have its files open.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fireactions_model::Digest;
use jiff::Timestamp;

use crate::catalog::Catalog;
use crate::files::{entries, remove_tree};
use crate::shelf::{TemplateInfo, TemplateLimits};
use crate::{ImageError, Images, blocking, locked};

/// A template being made. Dropped, it leaves a directory that the next attempt or the next open removes.
#[derive(Debug)]
pub struct Making {
    catalog: Arc<Mutex<Catalog>>,
    limits: TemplateLimits,
    key: Digest,
    image: Digest,
    /// When the image was made that the guest runs: once it was removed, another of its digest has its files elsewhere.
    image_made: Timestamp,
    dir: PathBuf,
}

impl Making {
    /// Where its files go: an empty directory that only the server can enter.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the image of the guest is still there.
    pub async fn has_image(&self) -> bool {
        let (image, made) = (self.image.clone(), self.image_made);
        locked(&self.catalog, move |catalog| Ok(catalog.is_made_at(&image, made))).await.unwrap_or(false)
    }

    /// Syncs the files and makes the template visible, in place of one with the same key. `made_of` is kept for whoever
    /// looks. Templates beyond the limits go.
    ///
    /// # Errors
    /// The image was removed meanwhile, nothing was written, or the disk refuses; nothing is left then.
    pub async fn publish(self, made_of: serde_json::Value) -> Result<TemplateInfo, ImageError> {
        blocking(move || {
            let published = self.finish(made_of);
            if published.is_err() {
                let _ = remove_tree(&self.dir);
            }
            published
        })
        .await
    }

    /// Removes what was written so far.
    pub async fn abandon(self) -> Result<(), ImageError> {
        blocking(move || remove_tree(&self.dir)).await
    }

    fn finish(&self, made_of: serde_json::Value) -> Result<TemplateInfo, ImageError> {
        let mut size = 0;
        for path in entries(&self.dir)? {
            let file = File::open(&path).map_err(|e| ImageError::io("open", &path, e))?;
            // A power loss must not leave a memory with holes under a record that calls it whole.
            file.sync_all().map_err(|e| ImageError::io("sync", &path, e))?;
            size += file.metadata().map_err(|e| ImageError::io("read", &path, e))?.blocks() * 512;
        }
        if size == 0 {
            return Err(ImageError::Internal(format!("{} is an empty template", self.dir.display())));
        }
        let info = TemplateInfo::record(&self.dir, (self.key.clone(), self.image.clone()), made_of, size)?;
        let mut catalog = crate::lock(&self.catalog);
        if !catalog.is_made_at(&self.image, self.image_made) {
            return Err(ImageError::Unknown(self.image.to_string()));
        }
        catalog.templates.publish(&self.dir, info.clone(), self.limits)?;
        Ok(info)
    }
}

impl Images {
    /// The directory of a template, if it is there; counts as a use.
    pub async fn template(&self, key: &Digest) -> Option<PathBuf> {
        let key = key.clone();
        locked(self.catalog(), move |catalog| Ok(catalog.templates.take(&key))).await.ok().flatten()
    }

    /// Every template, most recently used first.
    pub async fn templates(&self) -> Vec<TemplateInfo> {
        locked(self.catalog(), |catalog| Ok(catalog.templates.by_use())).await.unwrap_or_default()
    }

    /// Begins a template of a guest that runs this image. The image may be removed meanwhile.
    ///
    /// # Errors
    /// There is no such image, or the directory cannot be made.
    pub async fn begin_template(&self, key: &Digest, image: &Digest) -> Result<Making, ImageError> {
        let (catalog, limits) = (Arc::clone(self.catalog()), self.template_limits());
        let (key, image) = (key.clone(), image.clone());
        blocking(move || {
            let (dir, image_made) = {
                let catalog = crate::lock(&catalog);
                let record =
                    catalog.roots.get(&image).ok_or_else(|| ImageError::Unknown(image.to_string()))?;
                (catalog.templates.making(&key), record.created_at)
            };
            // An attempt before this one was cut off.
            remove_tree(&dir)?;
            DirBuilder::new().mode(0o700).create(&dir).map_err(|e| ImageError::io("make", &dir, e))?;
            Ok(Making { catalog, limits, key, image, image_made, dir })
        })
        .await
    }

    /// Removes a template. One that is not there is fine.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn remove_template(&self, key: &Digest) -> Result<(), ImageError> {
        let key = key.clone();
        locked(self.catalog(), move |catalog| catalog.templates.remove(&key).map(drop)).await
    }
}
