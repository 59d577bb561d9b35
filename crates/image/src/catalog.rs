//! The durable record of root images and of the names that lead to them.
//!
//! ```text
//! roots/HEX.squashfs   the image                   roots/HEX.json   its record; written last, so that an image
//! names/HASH.json      one name → its image                         with a record is whole
//! templates/           frozen machines that run an image: `templates.rs`
//! tmp/                 unfinished work, emptied at open
//! ```
//!
//! The modification time of a record is the image's last use. The memory copy here is the truth while the store is
//! open; every change goes to the files first.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use fireactions_model::{Digest, ImageRef};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::{entries, read, remove, sync_directory};
use crate::manifest::sha256;
use crate::shelf::Shelf;
use crate::{ImageConfig, ImageError, RootImage};

/// Version of the way root images are made. Images of another version are made again.
const FORMAT: u32 = 1;

/// What is known of one root image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    pub digest: Digest,
    pub size: u64,
    pub created_at: Timestamp,
    pub config: ImageConfig,
    #[serde(skip)]
    pub last_used: Timestamp,
}

/// Where a name leads.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(clippy::struct_field_names, reason = "the name itself")]
pub(crate) struct Name {
    pub name: ImageRef,
    /// The root image.
    pub digest: Digest,
    /// The document that the source gave for the name; when it gives the same again, nothing changed.
    pub source: Digest,
}

#[derive(Debug)]
pub(crate) struct Catalog {
    dir: PathBuf,
    pub roots: HashMap<Digest, Record>,
    pub names: BTreeMap<ImageRef, Name>,
    pub templates: Shelf,
    /// Who was given an image has the other end.
    holds: HashMap<Digest, Weak<()>>,
}

impl Catalog {
    /// Reads the records; what is incomplete or damaged is removed.
    pub(crate) fn open(dir: &Path) -> Result<Self, ImageError> {
        for sub in ["roots", "names", "templates", "tmp", "blobs"] {
            let path = dir.join(sub);
            std::fs::create_dir_all(&path).map_err(|e| ImageError::io("make the directory", &path, e))?;
        }
        for path in entries(&dir.join("tmp"))? {
            tracing::info!(path = %path.display(), "removing what an unfinished conversion left");
            remove(&path)?;
        }
        let roots = roots(dir)?;
        let mut names = BTreeMap::new();
        for path in entries(&dir.join("names"))? {
            match read::<Name>(&path) {
                Some(name) if roots.contains_key(&name.digest) => {
                    names.insert(name.name.clone(), name);
                }
                _ => remove(&path)?,
            }
        }
        let templates = Shelf::open(dir.join("templates"), |image| roots.contains_key(image))?;
        Ok(Self { dir: dir.to_path_buf(), roots, names, templates, holds: HashMap::new() })
    }

    pub(crate) fn squashfs(&self, digest: &Digest) -> PathBuf {
        squashfs(&self.dir, digest)
    }

    fn record_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("roots").join(format!("{}.json", digest.hex()))
    }

    fn name_path(&self, name: &ImageRef) -> PathBuf {
        self.dir.join("names").join(format!("{}.json", sha256(name.as_str().as_bytes()).hex()))
    }

    /// The image, if it is stored; counts as a use.
    pub(crate) fn take(&mut self, digest: &Digest) -> Option<RootImage> {
        let path = self.squashfs(digest);
        let record_path = self.record_path(digest);
        let record = self.roots.get_mut(digest)?;
        // Somebody may have removed the file behind our back.
        if !std::fs::metadata(&path).is_ok_and(|m| m.len() == record.size) {
            self.roots.remove(digest);
            return None;
        }
        let now = SystemTime::now();
        if let Err(e) = File::open(&record_path).and_then(|file| file.set_modified(now)) {
            tracing::warn!(path = %record_path.display(), error = %e, "cannot note the use of an image");
        }
        record.last_used = Timestamp::try_from(now).unwrap_or(record.last_used);
        let (size, config) = (record.size, record.config.clone());
        let hold = self.holds.get(digest).and_then(Weak::upgrade).unwrap_or_default();
        self.holds.insert(digest.clone(), Arc::downgrade(&hold));
        Some(RootImage { digest: digest.clone(), path, size, config, hold })
    }

    /// Whether somebody who was given the image still has it.
    pub(crate) fn is_held(&self, digest: &Digest) -> bool {
        self.holds.get(digest).is_some_and(|hold| hold.strong_count() > 0)
    }

    /// Whether the image is there and no other than the one that was made then.
    pub(crate) fn is_made_at(&self, digest: &Digest, made: Timestamp) -> bool {
        self.roots.get(digest).is_some_and(|record| record.created_at == made)
    }

    /// Takes a finished, synced squashfs in.
    pub(crate) fn commit(
        &mut self,
        from: &Path,
        digest: &Digest,
        config: &ImageConfig,
    ) -> Result<(), ImageError> {
        let path = self.squashfs(digest);
        let size = std::fs::metadata(from).map_err(|e| ImageError::io("read", from, e))?.len();
        // The same tree, but its files may lie elsewhere in it: a guest that has the old one mounted must not wake up.
        self.templates.remove_of(digest)?;
        std::fs::rename(from, &path).map_err(|e| ImageError::io("name", &path, e))?;
        sync_directory(&self.dir.join("roots"))?;
        let now = Timestamp::now();
        let record = Record {
            format: FORMAT,
            digest: digest.clone(),
            size,
            created_at: now,
            config: config.clone(),
            last_used: now,
        };
        self.write(&self.record_path(digest), &record).inspect_err(|_| drop(std::fs::remove_file(&path)))?;
        self.roots.insert(digest.clone(), record);
        Ok(())
    }

    /// Makes a name lead to an image.
    pub(crate) fn name(&mut self, name: Name) -> Result<(), ImageError> {
        let same =
            self.names.get(&name.name).is_some_and(|n| n.digest == name.digest && n.source == name.source);
        if !same {
            self.write(&self.name_path(&name.name), &name)?;
            self.names.insert(name.name.clone(), name);
        }
        Ok(())
    }

    pub(crate) fn unname(&mut self, name: &ImageRef) -> Result<(), ImageError> {
        remove(&self.name_path(name))?;
        self.names.remove(name);
        Ok(())
    }

    /// Removes an image, its names and its templates; gives their size back. The record goes first: without it the
    /// rest is swept.
    pub(crate) fn remove(&mut self, digest: &Digest) -> Result<u64, ImageError> {
        let names: Vec<ImageRef> = self.names_of(digest).cloned().collect();
        for name in names {
            self.unname(&name)?;
        }
        remove(&self.record_path(digest))?;
        remove(&self.squashfs(digest))?;
        sync_directory(&self.dir.join("roots"))?;
        let templates = self.templates.remove_of(digest)?;
        self.holds.remove(digest);
        Ok(self.roots.remove(digest).map_or(0, |record| record.size) + templates)
    }

    pub(crate) fn names_of(&self, digest: &Digest) -> impl Iterator<Item = &ImageRef> {
        self.names.values().filter(move |name| name.digest == *digest).map(|name| &name.name)
    }

    /// Writes a whole file or none.
    fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), ImageError> {
        let bytes = serde_json::to_vec_pretty(value).map_err(|e| ImageError::Internal(e.to_string()))?;
        let failed = |e| ImageError::io("write", path, e);
        let mut temp = tempfile::NamedTempFile::new_in(self.dir.join("tmp")).map_err(failed)?;
        temp.write_all(&bytes).and_then(|()| temp.as_file().sync_all()).map_err(failed)?;
        temp.persist(path).map_err(|e| failed(e.error))?;
        sync_directory(path.parent().unwrap_or(path))
    }
}

/// Reads the records of root images; what is incomplete or outdated goes.
fn roots(dir: &Path) -> Result<HashMap<Digest, Record>, ImageError> {
    let mut roots = HashMap::new();
    let files = entries(&dir.join("roots"))?;
    for path in files.iter().filter(|path| has_extension(path, "json")) {
        if let Some(record) = read::<Record>(path)
            && record.format == FORMAT
            && std::fs::metadata(squashfs(dir, &record.digest)).is_ok_and(|m| m.len() == record.size)
        {
            let used = std::fs::metadata(path).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let last_used = Timestamp::try_from(used).unwrap_or(record.created_at);
            roots.insert(record.digest.clone(), Record { last_used, ..record });
        }
    }
    for path in files {
        let known = path.file_stem().and_then(|s| s.to_str()).is_some_and(|stem| {
            Digest::new(format!("sha256:{stem}")).is_ok_and(|digest| roots.contains_key(&digest))
        });
        if !known || !(has_extension(&path, "json") || has_extension(&path, "squashfs")) {
            tracing::info!(path = %path.display(), "removing an incomplete or outdated root image");
            remove(&path)?;
        }
    }
    Ok(roots)
}

fn squashfs(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("roots").join(format!("{}.squashfs", digest.hex()))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}
