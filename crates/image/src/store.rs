//! The image store: what is there, who waits for what, and what may go.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fireactions_model::{Digest, ImageRef, ImageSource, PullPolicy};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{Semaphore, watch};

use crate::catalog::{Catalog, Record};
use crate::keyed::KeyedLocks;
use crate::pull::Puller;
use crate::reference::parse;
use crate::registry::{BlobCache, Registries};
use crate::{
    GcPolicy, GcReport, ImageError, ImageInfo, ImagesConfig, Progress, ProgressFn, RootImage, TemplateLimits,
    blocking, locked,
};

/// Fewer digits of a digest are too easily a name, or somebody else's digest.
const PREFIX_MIN: usize = 6;

type Pull = BoxFuture<'static, Result<RootImage, ImageError>>;

/// A pull that is under way. Those who wait hold the strong ends; when the last one leaves, it ends.
struct Flight {
    pull: WeakShared<Pull>,
    progress: watch::Receiver<Progress>,
}

struct Inner {
    puller: Arc<Puller>,
    flights: Mutex<HashMap<ImageRef, Flight>>,
    /// Held for as long as the store is open.
    lock: File,
}

/// Every root image of a server. Clones share one store.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

impl Images {
    /// Whether an image may be asked for by whoever names it: any of a registry, and of this host what was permitted.
    ///
    /// # Errors
    /// It may not, or the reference cannot be understood.
    pub fn permits(&self, image: &ImageRef) -> Result<(), ImageError> {
        match parse(image)? {
            ImageSource::Registry(_) => Ok(()),
            ImageSource::Layout(path, _) | ImageSource::Archive(path, _) => {
                self.inner.puller.config.local.permit(image, &path).map(drop)
            }
        }
    }

    /// Opens the store in `dir`, making it where needed. What a crash left unfinished is removed; partly fetched
    /// layers are kept for a day, to be resumed.
    ///
    /// # Errors
    /// Another process has it open, or the directory cannot be used.
    pub fn open(dir: &Path, config: ImagesConfig) -> Result<Self, ImageError> {
        std::fs::create_dir_all(dir).map_err(|e| ImageError::io("make the directory", dir, e))?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).map_err(|e| ImageError::io("open", &lock_path, e))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| ImageError::Locked(dir.to_path_buf()))?;
        let catalog = Catalog::open(dir)?;
        let layers = BlobCache::new(&dir.join("blobs"));
        layers.trim(config.layer_cache_bytes)?;
        let config = Arc::new(config);
        let scans = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let puller = Puller {
            dir: dir.to_path_buf(),
            registries: Registries::new(config.clone())?,
            config,
            catalog: Arc::new(Mutex::new(catalog)),
            layers,
            making: KeyedLocks::default(),
            scans: Arc::new(Semaphore::new(scans)),
        };
        Ok(Self { inner: Arc::new(Inner { puller: Arc::new(puller), flights: Mutex::default(), lock }) })
    }

    /// Gives the directory back for another process to open, while clones of this store still exist: their owner is
    /// going and asks nothing more of them. A pull that is under way fails or ends for nobody.
    pub fn close(&self) {
        if let Err(error) = flock(&self.inner.lock, FlockOperation::Unlock) {
            tracing::warn!(%error, "the image store's lock could not be released");
        }
    }

    /// Makes `image` ready. Callers asking for the same image share one pull and hear its progress; the pull is
    /// cancelled, and leaves nothing but resumable layers, when the last of them drops its future. The caller puts
    /// the deadline around.
    ///
    /// # Errors
    /// See [`ImageError`]; what failed leaves nothing behind.
    pub async fn ensure(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: Option<ProgressFn>,
    ) -> Result<RootImage, ImageError> {
        let tell = |value| progress.iter().for_each(|hear| hear(value));
        if let Some(root) = self.inner.puller.stored(image, policy).await? {
            tell(Progress::Ready);
            return Ok(root);
        }
        let (pull, mut updates) = self.join(image);
        let mut pull = std::pin::pin!(pull);
        tell(*updates.borrow_and_update());
        let result = loop {
            tokio::select! {
                result = &mut pull => break result,
                Ok(()) = updates.changed() => tell(*updates.borrow_and_update()),
            }
        };
        if result.is_ok() {
            tell(Progress::Ready);
        }
        result
    }

    pub(crate) fn catalog(&self) -> &Arc<Mutex<Catalog>> {
        &self.inner.puller.catalog
    }

    pub(crate) fn template_limits(&self) -> TemplateLimits {
        self.inner.puller.config.templates
    }

    /// A stored image by its digest, for a machine that has it already.
    pub async fn stored(&self, digest: &Digest) -> Option<RootImage> {
        let digest = digest.clone();
        locked(self.catalog(), move |catalog| Ok(catalog.take(&digest))).await.ok().flatten()
    }

    /// The pull of this image that is under way, or a new one.
    fn join(&self, image: &ImageRef) -> (Shared<Pull>, watch::Receiver<Progress>) {
        let mut flights = crate::lock(&self.inner.flights);
        flights.retain(|_, flight| flight.pull.upgrade().is_some_and(|pull| pull.peek().is_none()));
        if let Some(flight) = flights.get(image)
            && let Some(pull) = flight.pull.upgrade()
        {
            return (pull, flight.progress.clone());
        }
        let (sender, receiver) = watch::channel(Progress::Resolving);
        let (puller, name) = (self.inner.puller.clone(), image.clone());
        let pull = async move { puller.pull(&name, &sender).await }.boxed().shared();
        if let Some(weak) = pull.downgrade() {
            flights.insert(image.clone(), Flight { pull: weak, progress: receiver.clone() });
        }
        (pull, receiver)
    }

    /// Everything stored, most recently used first.
    pub async fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        locked(self.catalog(), |catalog| {
            let info = |record: &Record| ImageInfo {
                digest: record.digest.clone(),
                names: catalog.names_of(&record.digest).cloned().collect(),
                size: record.size,
                templates: catalog.templates.size_of(&record.digest),
                created_at: record.created_at,
                last_used: record.last_used,
            };
            let mut list: Vec<ImageInfo> = catalog.roots.values().map(info).collect();
            list.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.digest.cmp(&b.digest)));
            Ok(list)
        })
        .await
    }

    /// Removes a name, and its image when no other name leads to it; or, by digest (with or without `sha256:`, at
    /// least 6 digits), an image with all its names. Returns the images removed.
    ///
    /// # Errors
    /// Nothing or more than one image matches, or a machine uses it (`in_use`).
    pub async fn remove(&self, what: &str, in_use: &HashSet<Digest>) -> Result<Vec<Digest>, ImageError> {
        let (what, in_use) = (what.to_string(), in_use.clone());
        locked(self.catalog(), move |catalog| {
            let name = ImageRef::new(what.clone()).ok().and_then(|name| catalog.names.get(&name).cloned());
            let digest = match &name {
                Some(name) => name.digest.clone(),
                None => by_prefix(catalog, &what)?,
            };
            if let Some(name) = name
                && catalog.names_of(&digest).count() > 1
            {
                catalog.unname(&name.name)?;
                return Ok(Vec::new());
            }
            if in_use.contains(&digest) || catalog.is_held(&digest) {
                return Err(ImageError::InUse(digest));
            }
            catalog.remove(&digest)?;
            Ok(vec![digest])
        })
        .await
    }

    /// Removes images that no name leads to, then by the policy, least recently used first; templates and cached layers
    /// go before images when space is asked for. What is `in_use`, or was used within the configured grace, stays.
    pub async fn gc(&self, policy: GcPolicy, in_use: &HashSet<Digest>) -> Result<GcReport, ImageError> {
        let puller = self.inner.puller.clone();
        let in_use = in_use.clone();
        blocking(move || {
            let mut report = GcReport::default();
            let mut catalog = crate::lock(&puller.catalog);
            let now = Timestamp::now();
            let since = |then: Timestamp| std::time::Duration::try_from(now - then).unwrap_or_default();
            let unused = |record: &Record| since(record.last_used);
            report.freed += catalog.templates.trim(puller.config.templates)?;
            let mut free: Vec<Record> = catalog
                .roots
                .values()
                .filter(|record| !in_use.contains(&record.digest) && !catalog.is_held(&record.digest))
                .filter(|record| unused(record) >= puller.config.grace)
                .cloned()
                .collect();
            free.sort_by(|a, b| a.last_used.cmp(&b.last_used).then_with(|| a.digest.cmp(&b.digest)));
            let mut kept: u64 = catalog.roots.values().map(|record| record.size).sum();
            kept += catalog.templates.size();
            let max = policy.max_bytes.or(puller.config.max_bytes);
            // A template is made again in seconds, an image is pulled again.
            for info in catalog.templates.by_use().into_iter().rev() {
                if max.is_some_and(|max| kept > max) && since(info.last_used) >= puller.config.grace {
                    let size = catalog.templates.remove(&info.key)?;
                    kept -= size;
                    report.freed += size;
                }
            }
            // Two rounds, so that nobody's image goes while one without a name is still there.
            for nameless in [true, false] {
                for record in &free {
                    let wanted = if nameless {
                        catalog.names_of(&record.digest).next().is_none()
                    } else {
                        catalog.roots.contains_key(&record.digest)
                            && (max.is_some_and(|max| kept > max)
                                || policy.unused_for.is_some_and(|limit| unused(record) >= limit))
                    };
                    if wanted {
                        let size = catalog.remove(&record.digest)?;
                        kept -= size;
                        report.freed += size;
                        report.removed.push(record.digest.clone());
                    }
                }
            }
            report.kept = kept;
            drop(catalog);
            let layers_max = max.map_or(puller.config.layer_cache_bytes, |max| max.saturating_sub(kept));
            report.freed += puller.layers.trim(layers_max.min(puller.config.layer_cache_bytes))?;
            Ok(report)
        })
        .await
    }
}

fn by_prefix(catalog: &Catalog, what: &str) -> Result<Digest, ImageError> {
    let prefix = what.strip_prefix("sha256:").unwrap_or(what);
    let unknown = || ImageError::Unknown(what.to_string());
    if prefix.len() < PREFIX_MIN {
        return Err(unknown());
    }
    let mut found = catalog.roots.keys().filter(|digest| digest.hex().starts_with(prefix));
    let first = found.next().ok_or_else(unknown)?.clone();
    if found.next().is_some() { Err(ImageError::Ambiguous(what.to_string())) } else { Ok(first) }
}
