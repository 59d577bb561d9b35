//! The templates that are there, as files and in memory. `templates.rs` says what they are.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fireactions_model::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ImageError;
use crate::files::{entries, read, remove, remove_tree, sync_directory};

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

impl TemplateInfo {
    /// The record of a template that is just made, written to its directory.
    pub(crate) fn record(
        dir: &Path,
        (key, image): (Digest, Digest),
        made_of: serde_json::Value,
        size: u64,
    ) -> Result<Self, ImageError> {
        let now = Timestamp::now();
        let info = Self { format: FORMAT, key, image, made_of, created_at: now, size, last_used: now };
        let record = dir.join(RECORD);
        let bytes = serde_json::to_vec_pretty(&info).map_err(|e| ImageError::Internal(e.to_string()))?;
        std::fs::write(&record, bytes)
            .and_then(|()| File::open(&record)?.sync_all())
            .map_err(|e| ImageError::io("write", &record, e))?;
        sync_directory(dir)?;
        Ok(info)
    }
}

/// All templates of a store.
#[derive(Debug)]
pub(crate) struct Shelf {
    dir: PathBuf,
    templates: HashMap<Digest, TemplateInfo>,
}

impl Shelf {
    /// Reads the records; what is incomplete, or of an image of which `has_image` is not true, goes.
    pub(crate) fn open(dir: PathBuf, has_image: impl Fn(&Digest) -> bool) -> Result<Self, ImageError> {
        let mut shelf = Self { dir, templates: HashMap::new() };
        for dir in entries(&shelf.dir)? {
            let record = dir.join(RECORD);
            let named = |info: &TemplateInfo| shelf.place(&info.key) == dir;
            let info = read::<TemplateInfo>(&record)
                .filter(|info| info.format == FORMAT && named(info) && has_image(&info.image));
            let Some(info) = info else {
                tracing::info!(path = %dir.display(), "removing an incomplete or outdated template");
                remove_tree(&dir)?;
                continue;
            };
            let used = std::fs::metadata(&record).and_then(|m| m.modified()).ok();
            let last_used = used.and_then(|used| Timestamp::try_from(used).ok()).unwrap_or(info.created_at);
            shelf.templates.insert(info.key.clone(), TemplateInfo { last_used, ..info });
        }
        Ok(shelf)
    }

    fn place(&self, key: &Digest) -> PathBuf {
        self.dir.join(key.hex())
    }

    /// Where a template is made.
    pub(crate) fn making(&self, key: &Digest) -> PathBuf {
        self.dir.join(format!("{MAKING}{}", key.hex()))
    }

    /// Takes in what was made at `dir` and is synced, in place of a template with the same key.
    pub(crate) fn publish(
        &mut self,
        dir: &Path,
        info: TemplateInfo,
        limits: TemplateLimits,
    ) -> Result<(), ImageError> {
        self.remove(&info.key)?;
        let place = self.place(&info.key);
        std::fs::rename(dir, &place).map_err(|e| ImageError::io("name", &place, e))?;
        sync_directory(&self.dir)?;
        self.templates.insert(info.key.clone(), info);
        self.trim(limits).map(drop)
    }

    /// The directory of a template; counts as a use.
    pub(crate) fn take(&mut self, key: &Digest) -> Option<PathBuf> {
        let dir = self.place(key);
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
    pub(crate) fn by_use(&self) -> Vec<TemplateInfo> {
        let mut list: Vec<TemplateInfo> = self.templates.values().cloned().collect();
        list.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.key.cmp(&b.key)));
        list
    }

    /// Bytes of all.
    pub(crate) fn size(&self) -> u64 {
        self.templates.values().map(|info| info.size).sum()
    }

    /// Bytes of the templates that run this image.
    pub(crate) fn size_of(&self, image: &Digest) -> u64 {
        self.templates.values().filter(|info| info.image == *image).map(|info| info.size).sum()
    }

    /// Removes a template; gives its size back.
    pub(crate) fn remove(&mut self, key: &Digest) -> Result<u64, ImageError> {
        let Some(info) = self.templates.remove(key) else { return Ok(0) };
        let dir = self.place(key);
        remove(&dir.join(RECORD))?;
        remove_tree(&dir)?;
        Ok(info.size)
    }

    /// Removes the templates that run this image; gives their size back.
    pub(crate) fn remove_of(&mut self, image: &Digest) -> Result<u64, ImageError> {
        let keys: Vec<Digest> = (self.templates.values())
            .filter(|info| info.image == *image)
            .map(|info| info.key.clone())
            .collect();
        keys.iter().try_fold(0, |freed, key| Ok(freed + self.remove(key)?))
    }

    /// Removes templates beyond the limits; gives their size back.
    pub(crate) fn trim(&mut self, limits: TemplateLimits) -> Result<u64, ImageError> {
        let now = Timestamp::now();
        let mut freed = 0;
        for (place, info) in self.by_use().into_iter().enumerate() {
            let unused = Duration::try_from(now.duration_since(info.last_used)).unwrap_or_default();
            if place >= limits.count.max(1) || unused >= limits.unused_for {
                freed += self.remove(&info.key)?;
            }
        }
        Ok(freed)
    }
}
