//! OCI image layouts: a directory, or the same as one tar file.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use fireactions_model::Select;
use serde::Deserialize;

use crate::ImageError;
use crate::blob::Blob;
use crate::local::Local;
use crate::manifest::{CONFIG_MAX, Descriptor, MANIFEST_MAX, choose, is_artifact};

/// Most documents of a layout that are read to find the one image among them.
const LOOKED_INTO: usize = 32;
/// Most files that an archive may hold: blobs and three documents.
const ARCHIVE_FILES: usize = 20_000;

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// What the `index.json` of the layout at `path` lists.
pub(crate) fn parse_index(bytes: &[u8], path: &Path) -> Result<Vec<Descriptor>, ImageError> {
    let index: Index = serde_json::from_slice(bytes)
        .map_err(|e| ImageError::malformed(format!("{}/index.json is not valid: {e}", path.display())))?;
    Ok(index.manifests)
}

/// An opened layout.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    local: Local,
    /// Where an archive holds each file; absent for a directory.
    archive: Option<Arc<HashMap<String, Blob>>>,
}

impl Layout {
    pub(crate) fn directory(local: Local) -> Self {
        Self { local, archive: None }
    }

    /// Lists what an archive holds. Blocking; reads headers only.
    pub(crate) fn archive(local: Local) -> Result<Self, ImageError> {
        let path = local.path();
        let (file, metadata) = local.open("").map_err(|e| missing(path, e))?;
        let broken =
            |why: String| ImageError::malformed(format!("{} is not an OCI archive: {why}", path.display()));
        // The library's words repeat the bytes that it cannot read.
        let unreadable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::Other => broken("its headers are not those of a tar file".into()),
            _ => broken(e.to_string()),
        };
        let mut magic = [0; 6];
        if let Some(program) = file.read_at(&mut magic, 0).ok().and_then(|_| compressed(magic)) {
            return Err(ImageError::malformed(format!(
                "{} is compressed, and an OCI archive is read in place: unpack it first ({program})",
                path.display()
            )));
        }
        let len = metadata.len();
        let shared = Arc::new(file.try_clone().map_err(unreadable)?);
        let mut files = HashMap::new();
        let mut archive = tar::Archive::new(file);
        // Raw: extension headers are not interpreted, so none is read into memory. Names of layouts are short.
        for entry in archive.entries_with_seek().map_err(unreadable)?.raw(true) {
            let entry = entry.map_err(unreadable)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_string();
            let start = entry.raw_file_position();
            if start.checked_add(entry.size()).is_none_or(|end| end > len) {
                return Err(broken(format!("'{name:.100}' is cut off")));
            }
            files.insert(name, Blob::new(shared.clone(), start, entry.size()));
            if files.len() > ARCHIVE_FILES {
                return Err(broken("it holds too many files".into()));
            }
        }
        Ok(Self { local, archive: Some(Arc::new(files)) })
    }

    /// The descriptor that `select` means, from `index.json`.
    pub(crate) fn select(&self, select: &Select, image: &str) -> Result<Descriptor, ImageError> {
        let bytes = self.document("index.json")?;
        let index = parse_index(&bytes, self.local.path())?;
        let tags = || {
            let tags: Vec<&str> = index.iter().filter_map(Descriptor::tag).take(20).collect();
            if tags.is_empty() {
                "it has no tags".to_string()
            } else {
                format!("it has: {}", tags.join(", "))
            }
        };
        let not_found = |why: String| ImageError::NotFound {
            image: image.to_string(),
            at: self.local.path().display().to_string(),
            why,
        };
        match select {
            Select::Tag(tag) => {
                tagged(&index, tag).ok_or_else(|| not_found(format!("no such tag; {}", tags())))
            }
            Select::Digest(digest) => index
                .iter()
                .find(|d| d.digest == *digest)
                .cloned()
                .ok_or_else(|| not_found("its index does not list this digest".into())),
            Select::Only => match index.as_slice() {
                [] => Err(not_found("its index is empty".into())),
                [only] => Ok(only.clone()),
                several => {
                    choose(several).ok().or_else(|| self.only_image(several)).cloned().ok_or_else(|| {
                        not_found(format!("it holds several images, so name a tag (':TAG'); {}", tags()))
                    })
                }
            },
        }
    }

    /// The only image among documents of which the index does not say what they are.
    fn only_image<'a>(&self, several: &'a [Descriptor]) -> Option<&'a Descriptor> {
        if several.len() > LOOKED_INTO {
            return None;
        }
        let is_image = |d: &&Descriptor| !self.verified("manifest", d).is_ok_and(|bytes| is_artifact(&bytes));
        let images: Vec<Descriptor> = several.iter().filter(is_image).cloned().collect();
        let digest = choose(&images).ok()?.digest.clone();
        several.iter().find(|d| d.digest == digest)
    }

    /// The blob of a descriptor, not verified yet.
    pub(crate) fn blob(&self, what: &str, descriptor: &Descriptor) -> Result<Blob, ImageError> {
        self.file(&format!("blobs/sha256/{}", descriptor.digest.hex()), what, Some(descriptor.size))
    }

    /// A verified document.
    pub(crate) fn verified(&self, what: &str, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        if descriptor.size > CONFIG_MAX {
            return Err(ImageError::TooLarge { what: "its metadata in bytes", limit: CONFIG_MAX });
        }
        self.blob(what, descriptor)?.read_verified(what, &descriptor.digest)
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let blob = self.file(name, name, None)?;
        if blob.len > MANIFEST_MAX {
            return Err(ImageError::TooLarge { what: "its index in bytes", limit: MANIFEST_MAX });
        }
        let mut bytes = Vec::new();
        blob.reader().read_to_end(&mut bytes).map_err(|e| ImageError::io("read", self.local.path(), e))?;
        Ok(bytes)
    }

    fn file(&self, name: &str, what: &str, size: Option<u64>) -> Result<Blob, ImageError> {
        if let Some(files) = &self.archive {
            let blob = files.get(name).ok_or_else(|| {
                ImageError::malformed(format!(
                    "the archive {} has no {name} ({what})",
                    self.local.path().display()
                ))
            })?;
            if size.is_some_and(|size| size != blob.len) {
                return Err(ImageError::malformed(format!(
                    "{what} is not of the size that its descriptor says"
                )));
            }
            return Ok(blob.clone());
        }
        let (file, metadata) =
            self.local.open(name).map_err(|e| missing(&self.local.path().join(name), e))?;
        Blob::whole(file, &metadata, what, size.unwrap_or(metadata.len()))
    }
}

/// The program that unpacks what begins like this.
fn compressed(magic: [u8; 6]) -> Option<&'static str> {
    match magic {
        [0x1f, 0x8b, ..] => Some("gunzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("unzstd"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("unxz"),
        [b'B', b'Z', b'h', ..] => Some("bunzip2"),
        _ => None,
    }
}

/// The image of a tag. Podman writes whole references as tags: there the tag at their end counts, if only one image has it.
fn tagged(index: &[Descriptor], tag: &str) -> Option<Descriptor> {
    let exact = index.iter().find(|d| d.tag() == Some(tag));
    let end =
        |d: &&Descriptor| d.tag().and_then(|name| name.rsplit_once(':')).is_some_and(|(_, end)| end == tag);
    let mut ends = index.iter().filter(end);
    let first = ends.next().filter(|first| ends.all(|other| other.digest == first.digest));
    exact.or(first).cloned()
}

fn missing(path: &Path, error: std::io::Error) -> ImageError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return ImageError::NotFound {
            image: path.display().to_string(),
            at: "this host".into(),
            why: "there is no OCI layout (index.json) there".into(),
        };
    }
    ImageError::io("read", path, error)
}
