//! From a reference to a finished root image: look up, fetch and verify the layers side by side, flatten, pack.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fireactions_model::{Digest, ImageRef, ImageSource, PullPolicy, Select};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{Semaphore, watch};

use crate::blob::{Blob, verify};
use crate::budget::Budget;
use crate::cancel::Cancel;
use crate::catalog::{Catalog, Name};
use crate::confined::Programs;
use crate::keyed::KeyedLocks;
use crate::layer::scan;
use crate::layout::Layout;
use crate::manifest::{CONFIG_MAX, Descriptor, Document, Manifest, choose, parse_config, parse_document};
use crate::reference::parse;
use crate::registry::{BlobCache, Places, Registries};
use crate::tree::Tree;
use crate::{ImageConfig, ImageError, ImagesConfig, Progress, RootImage, blocking, locked, squash, tarwrite};

/// An index of an index of an index is a maze, not an image.
const INDEX_DEPTH: usize = 3;

/// Everything a pull needs.
pub(crate) struct Puller {
    pub dir: PathBuf,
    pub config: Arc<ImagesConfig>,
    pub catalog: Arc<Mutex<Catalog>>,
    pub registries: Registries,
    pub layers: BlobCache,
    /// Two names of one image make it once.
    pub making: KeyedLocks,
    /// Scans decompress and hash: as many as there are processors.
    pub scans: Arc<Semaphore>,
}

/// Where the parts of one image come from.
enum Parts {
    Remote(Places),
    Local(Layout),
}

impl Puller {
    /// Answers from what is stored, where the policy allows.
    pub(crate) async fn stored(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
    ) -> Result<Option<RootImage>, ImageError> {
        if policy == PullPolicy::Always {
            return Ok(None);
        }
        let image = image.clone();
        locked(&self.catalog, move |catalog| {
            let digest = catalog.names.get(&image).map(|name| name.digest.clone());
            match digest.and_then(|digest| catalog.take(&digest)) {
                Some(root) => Ok(Some(root)),
                None if policy == PullPolicy::Never => Err(ImageError::NotPresent(image)),
                None => Ok(None),
            }
        })
        .await
    }

    pub(crate) async fn pull(
        &self,
        image: &ImageRef,
        progress: &watch::Sender<Progress>,
    ) -> Result<RootImage, ImageError> {
        let cancel = Cancel::default();
        let _guard = cancel.guard();
        let source = parse(image)?;
        let pinned = matches!(&source, ImageSource::Registry(remote) if remote.pinned.is_some());
        let (parts, mut document, source) = match source {
            ImageSource::Registry(remote) => {
                // What a digest names cannot have changed.
                if pinned && let Some(root) = self.stored(image, PullPolicy::IfNotPresent).await? {
                    return Ok(root);
                }
                let places = self.registries.places(&remote);
                let version = &remote.version;
                if let Some(known) = self.known(image).await?
                    && self.registries.still_names(&places, version, &known).await
                    && let Some(root) = self.unchanged(image, &known).await?
                {
                    return Ok(root);
                }
                let (bytes, digest) =
                    self.registries.document(&places, version, remote.pinned.as_ref()).await?;
                (Parts::Remote(places), bytes, digest)
            }
            ImageSource::Layout(path, select) => {
                let text = image.to_string();
                let local = self.config.local.permit(image, &path)?;
                blocking(move || open_layout(Layout::directory(local), &select, &text)).await?
            }
            ImageSource::Archive(path, select) => {
                let text = image.to_string();
                let local = self.config.local.permit(image, &path)?;
                blocking(move || open_layout(Layout::archive(local)?, &select, &text)).await?
            }
        };
        if let Some(root) = self.unchanged(image, &source).await? {
            return Ok(root);
        }
        let mut manifest = None;
        for _ in 0..INDEX_DEPTH {
            match parse_document(&document)? {
                Document::Manifest(found) => {
                    manifest = Some(found);
                    break;
                }
                Document::Index(index) => document = parts.document(self, choose(&index)?).await?,
            }
        }
        let manifest = manifest.ok_or_else(|| ImageError::malformed("its indexes are nested too deep"))?;
        manifest.check(&self.config.limits)?;
        let config_bytes = parts.small(self, "config", &manifest.config).await?;
        let (config, diff_ids) = parse_config(&config_bytes)?;
        if diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::malformed(format!(
                "its manifest has {} layers and its config {}",
                manifest.layers.len(),
                diff_ids.len()
            )));
        }
        let digest = manifest.config.digest.clone();
        // Of one source: the same image from one that never ends keeps no other's waiting.
        let _one = self.making.lock(&format!("{} {}", parts.source(), digest.hex())).await;
        let known = digest.clone();
        if !locked(&self.catalog, move |catalog| Ok(catalog.roots.contains_key(&known))).await? {
            self.make(&parts, manifest, diff_ids, &config, progress, &cancel).await?;
        }
        let name = Name { name: image.clone(), digest: digest.clone(), source };
        locked(&self.catalog, move |catalog| {
            catalog.name(name)?;
            catalog.take(&digest).ok_or_else(|| ImageError::Internal("a finished image is gone".into()))
        })
        .await
    }

    /// The document that this name's source gave the last time, if its image is there.
    async fn known(&self, image: &ImageRef) -> Result<Option<Digest>, ImageError> {
        let image = image.clone();
        locked(&self.catalog, move |catalog| {
            let name = catalog.names.get(&image).filter(|name| catalog.roots.contains_key(&name.digest));
            Ok(name.map(|name| name.source.clone()))
        })
        .await
    }

    /// The image that this name had the last time its source gave the same document.
    async fn unchanged(&self, image: &ImageRef, source: &Digest) -> Result<Option<RootImage>, ImageError> {
        let (image, source) = (image.clone(), source.clone());
        locked(&self.catalog, move |catalog| {
            let name = catalog.names.get(&image).filter(|name| name.source == source);
            let digest = name.map(|name| name.digest.clone());
            Ok(digest.and_then(|digest| catalog.take(&digest)))
        })
        .await
    }

    fn programs(&self) -> Programs {
        let ImagesConfig { tar2sqfs, zstd, converter_uid, .. } = &*self.config;
        Programs { tar2sqfs: tar2sqfs.clone(), zstd: zstd.clone(), user: *converter_uid }
    }

    async fn make(
        &self,
        parts: &Parts,
        manifest: Manifest,
        diff_ids: Vec<Digest>,
        config: &ImageConfig,
        progress: &watch::Sender<Progress>,
        cancel: &Cancel,
    ) -> Result<(), ImageError> {
        let digest = manifest.config.digest.clone();
        let programs = self.programs();
        let total = manifest.total();
        let done = AtomicU64::new(0);
        let budget = Budget::new(self.config.limits.clone());
        progress.send_replace(Progress::Pulling { done: 0, total });
        let layers = manifest.layers.into_iter().zip(diff_ids).map(|(descriptor, diff_id)| {
            let (budget, done, programs) = (budget.clone(), &done, programs.clone());
            async move {
                let mine = AtomicU64::new(0);
                let heard = |bytes: u64| {
                    let before = mine.swap(bytes, Ordering::Relaxed);
                    let all = done.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
                    let done = all.wrapping_add(bytes).wrapping_sub(before).min(total);
                    progress.send_replace(Progress::Pulling { done, total });
                };
                let blob = parts.layer(self, &descriptor, cancel, &heard).await?;
                let permit = self.scans.clone().acquire_owned().await;
                let (for_scan, for_thread) = (blob.clone(), cancel.clone());
                let local = matches!(parts, Parts::Local(_));
                let entries = blocking(move || {
                    let _permit = permit;
                    if local && descriptor.digest != diff_id {
                        // Before a byte of it is interpreted.
                        verify("layer", &descriptor.digest, for_scan.digest(&for_thread)?)?;
                    }
                    scan(&programs, &for_scan, &diff_id, &budget, &for_thread)
                })
                .await?;
                heard(blob.len);
                Ok::<_, ImageError>((blob, entries))
            }
        });
        let mut tree = Tree::new(budget.clone());
        let mut blobs = Vec::new();
        let mut scanned = stream::iter(layers).buffered(self.config.parallel.max(1));
        while let Some((blob, entries)) = scanned.try_next().await? {
            let applied = blocking(move || {
                tree.apply(entries)?;
                Ok(tree)
            });
            tree = applied.await?;
            blobs.push(blob);
        }
        drop(scanned);
        let (sender, catalog) = (progress.clone(), self.catalog.clone());
        let dir = self.dir.join("tmp");
        let (config, cancel) = (config.clone(), cancel.clone());
        blocking(move || {
            let total = tarwrite::content_bytes(&tree);
            sender.send_replace(Progress::Converting { done: 0, total });
            let temp = tempfile::Builder::new()
                .prefix("root-")
                .tempfile_in(&dir)
                .map_err(|e| ImageError::io("make a temporary file in", &dir, e))?
                .into_temp_path();
            squash::pack(&programs, &tree, &blobs, &temp, &cancel, |done| {
                sender.send_replace(Progress::Converting { done, total });
            })?;
            cancel.check()?;
            // Whatever the server's umask: machines read it under users of their own.
            std::fs::set_permissions(&temp, Permissions::from_mode(0o644))
                .map_err(|e| ImageError::io("let machines read", &temp, e))?;
            let mut catalog = crate::lock(&catalog);
            // Made meanwhile from another source; machines may have it open.
            if catalog.roots.contains_key(&digest) {
                return Ok(());
            }
            catalog.commit(&temp, &digest, &config)
        })
        .await?;
        let (layers, keep) = (self.layers.clone(), self.config.layer_cache_bytes);
        blocking(move || layers.trim(keep).map(drop)).await
    }
}

fn open_layout(layout: Layout, select: &Select, image: &str) -> Result<(Parts, Vec<u8>, Digest), ImageError> {
    let descriptor = layout.select(select, image)?;
    let bytes = layout.verified("manifest", &descriptor)?;
    Ok((Parts::Local(layout), bytes, descriptor.digest))
}

impl Parts {
    /// Whose pace they come at.
    fn source(&self) -> &str {
        match self {
            Self::Remote(places) => places.registry(),
            Self::Local(_) => "local",
        }
    }

    async fn document(&self, puller: &Puller, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        match self {
            Self::Remote(places) => {
                let version = descriptor.digest.as_str();
                let found = puller.registries.document(places, version, Some(&descriptor.digest)).await?;
                Ok(found.0)
            }
            Self::Local(_) => self.small(puller, "manifest", descriptor).await,
        }
    }

    async fn small(
        &self,
        puller: &Puller,
        what: &'static str,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, ImageError> {
        if descriptor.size > CONFIG_MAX {
            return Err(ImageError::TooLarge { what: "its metadata in bytes", limit: CONFIG_MAX });
        }
        match self {
            Self::Remote(places) => puller.registries.small_blob(places, what, descriptor).await,
            Self::Local(layout) => {
                let (layout, descriptor) = (layout.clone(), descriptor.clone());
                blocking(move || layout.verified(what, &descriptor)).await
            }
        }
    }

    async fn layer(
        &self,
        puller: &Puller,
        descriptor: &Descriptor,
        cancel: &Cancel,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<Blob, ImageError> {
        match self {
            Self::Remote(places) => {
                puller.registries.layer(&puller.layers, places, descriptor, cancel, progress).await
            }
            Self::Local(layout) => layout.blob("layer", descriptor),
        }
    }
}
