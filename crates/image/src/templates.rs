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
use std::time::{Duration, SystemTime};

use fireactions_model::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, entries, read, sync_directory};
use crate::{ImageError, Images, blocking};

/// Of the record.
const FORMAT: u32 = 1;
const RECORD: &str = "template.json";
const MAKING: &str = ".making-";

/// How many templates are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateLimits {
    /// Most at once, at least 1; the least recently used go.
    pub count: usize,
    /// One that no machine was cloned from for this long goes.
    pub unused_for: Duration,
}

impl Default for TemplateLimits {
    fn default() -> Self {
        Self { count: 16, unused_for: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// One stored template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateInfo {
    format: u32,
    /// Its name: a digest of everything that it depends on.
    pub key: Digest,
    /// The root image that its guest has mounted.
    pub image: Digest,
    /// What it was made from, as its maker put it.
    pub made_of: serde_json::Value,
    /// When it was frozen.
    pub created_at: Timestamp,
    /// Bytes on the disk. Its memory file is sparse: what the guest never touched costs nothing.
    pub size: u64,
    /// When a machine was last cloned from it.
    #[serde(skip)]
    pub last_used: Timestamp,
}

/// A template being made. Dropped, it leaves a directory that the next attempt or the next open removes.
#[derive(Debug)]
pub struct Making {
    catalog: Arc<Mutex<Catalog>>,
    limits: TemplateLimits,
    key: Digest,
    image: Digest,
    dir: PathBuf,
}

impl Making {
    /// Where its files go: an empty directory that only the server can enter.
    pub fn dir(&self) -> &Path {
        &self.dir
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
        let now = Timestamp::now();
        let (key, image) = (self.key.clone(), self.image.clone());
        let info =
            TemplateInfo { format: FORMAT, key, image, made_of, created_at: now, size, last_used: now };
        let record = self.dir.join(RECORD);
        let bytes = serde_json::to_vec_pretty(&info).map_err(|e| ImageError::Internal(e.to_string()))?;
        std::fs::write(&record, bytes)
            .and_then(|()| File::open(&record)?.sync_all())
            .map_err(|e| ImageError::io("write", &record, e))?;
        sync_directory(&self.dir)?;

        let mut catalog = crate::lock(&self.catalog);
        if !catalog.roots.contains_key(&self.image) {
            return Err(ImageError::Unknown(self.image.to_string()));
        }
        catalog.remove_template(&self.key)?;
        let place = catalog.template_dir(&self.key);
        std::fs::rename(&self.dir, &place).map_err(|e| ImageError::io("name", &place, e))?;
        sync_directory(place.parent().unwrap_or(&place))?;
        catalog.templates.insert(self.key.clone(), info.clone());
        catalog.trim_templates(self.limits)?;
        Ok(info)
    }
}

impl Images {
    /// The directory of a template, if it is there; counts as a use.
    pub fn template(&self, key: &Digest) -> Option<PathBuf> {
        crate::lock(self.catalog()).take_template(key)
    }

    /// Every template, most recently used first.
    pub fn templates(&self) -> Vec<TemplateInfo> {
        crate::lock(self.catalog()).templates_by_use()
    }

    /// Begins a template of a guest that runs this image.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub async fn begin_template(&self, key: &Digest, image: &Digest) -> Result<Making, ImageError> {
        let (catalog, limits) = (Arc::clone(self.catalog()), self.template_limits());
        let (key, image) = (key.clone(), image.clone());
        blocking(move || {
            let dir = crate::lock(&catalog).making_dir(&key);
            // An attempt before this one was cut off.
            remove_tree(&dir)?;
            DirBuilder::new().mode(0o700).create(&dir).map_err(|e| ImageError::io("make", &dir, e))?;
            Ok(Making { catalog, limits, key, image, dir })
        })
        .await
    }

    /// Removes a template. One that is not there is fine.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn remove_template(&self, key: &Digest) -> Result<(), ImageError> {
        let (catalog, key) = (Arc::clone(self.catalog()), key.clone());
        blocking(move || crate::lock(&catalog).remove_template(&key).map(drop)).await
    }
}

impl Catalog {
    fn template_dir(&self, key: &Digest) -> PathBuf {
        self.templates_dir().join(key.hex())
    }

    fn making_dir(&self, key: &Digest) -> PathBuf {
        self.templates_dir().join(format!("{MAKING}{}", key.hex()))
    }

    /// Reads the records, once those of the images are known; what is incomplete, or of an image that is not there, goes.
    pub(crate) fn open_templates(&mut self) -> Result<(), ImageError> {
        for dir in entries(&self.templates_dir())? {
            let record = dir.join(RECORD);
            let named = |info: &TemplateInfo| self.template_dir(&info.key) == dir;
            let info = read::<TemplateInfo>(&record)
                .filter(|info| info.format == FORMAT && named(info) && self.roots.contains_key(&info.image));
            let Some(info) = info else {
                tracing::info!(path = %dir.display(), "removing an incomplete or outdated template");
                remove_tree(&dir)?;
                continue;
            };
            let used = std::fs::metadata(&record).and_then(|m| m.modified()).ok();
            let last_used = used.and_then(|used| Timestamp::try_from(used).ok()).unwrap_or(info.created_at);
            self.templates.insert(info.key.clone(), TemplateInfo { last_used, ..info });
        }
        Ok(())
    }

    fn take_template(&mut self, key: &Digest) -> Option<PathBuf> {
        let dir = self.template_dir(key);
        let info = self.templates.get_mut(key)?;
        let now = SystemTime::now();
        let record = dir.join(RECORD);
        match File::open(&record).and_then(|file| file.set_modified(now)) {
            Ok(()) => {}
            // Somebody has removed it behind our back.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.templates.remove(key);
                return None;
            }
            Err(error) => {
                tracing::warn!(path = %record.display(), %error, "cannot note the use of a template");
            }
        }
        info.last_used = Timestamp::try_from(now).unwrap_or(info.last_used);
        Some(dir)
    }

    /// Most recently used first.
    pub(crate) fn templates_by_use(&self) -> Vec<TemplateInfo> {
        let mut list: Vec<TemplateInfo> = self.templates.values().cloned().collect();
        list.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.key.cmp(&b.key)));
        list
    }

    /// Bytes of the templates that run this image.
    pub(crate) fn templates_size(&self, image: &Digest) -> u64 {
        self.templates.values().filter(|info| info.image == *image).map(|info| info.size).sum()
    }

    /// Removes a template; gives its size back.
    pub(crate) fn remove_template(&mut self, key: &Digest) -> Result<u64, ImageError> {
        let Some(info) = self.templates.remove(key) else { return Ok(0) };
        let dir = self.template_dir(key);
        crate::catalog::remove(&dir.join(RECORD))?;
        remove_tree(&dir)?;
        Ok(info.size)
    }

    /// Removes the templates that run this image; gives their size back.
    pub(crate) fn remove_templates_of(&mut self, image: &Digest) -> Result<u64, ImageError> {
        let keys: Vec<Digest> = (self.templates.values())
            .filter(|info| info.image == *image)
            .map(|info| info.key.clone())
            .collect();
        keys.iter().try_fold(0, |freed, key| Ok(freed + self.remove_template(key)?))
    }

    /// Removes templates beyond the limits; gives their size back.
    pub(crate) fn trim_templates(&mut self, limits: TemplateLimits) -> Result<u64, ImageError> {
        let now = Timestamp::now();
        let mut freed = 0;
        for (place, info) in self.templates_by_use().into_iter().enumerate() {
            let unused = Duration::try_from(now.duration_since(info.last_used)).unwrap_or_default();
            if place >= limits.count.max(1) || unused >= limits.unused_for {
                freed += self.remove_template(&info.key)?;
            }
        }
        Ok(freed)
    }
}

/// Removes a directory of plain files, or whatever is there.
fn remove_tree(path: &Path) -> Result<(), ImageError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|e| ImageError::io("remove", path, e)),
    }
}
