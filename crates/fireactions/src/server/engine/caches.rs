//! The caches, as the API shows them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fireactions_api::engine::Result;
use fireactions_api::{
    ActionsCacheView, CacheCounts, CacheEntryView, CacheGcReport, CacheGcRequest, CachesView, Fault,
    MirrorCounts, MirrorView, ProxyView, RegistryCacheCounts, RegistryCacheView, StickyView,
    StickyVolumeView, WarmImageView,
};
use fireactions_cache::Entry;
use fireactions_config::Config;
use fireactions_registry_cache::{Mirror, Program};
use fireactions_volumes::{Volume, Volumes};
use futures::future::join_all;
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::registry_cache;
use crate::server::actions_cache::ActionsCache;

/// Until a cache of this host takes a connection.
const CONNECT: Duration = Duration::from_secs(1);
/// Until a directory's files are counted.
const COUNT: Duration = Duration::from_secs(10);

/// What the server has of caches.
pub(in crate::server) struct Caches {
    /// What is not open is off, or could not be opened.
    pub(in crate::server) actions: Option<ActionsCache>,
    /// What could not be opened is in the log.
    pub(in crate::server) sticky: Option<Volumes>,
    pub(in crate::server) config: Arc<Config>,
    /// One counts files, however many ask.
    pub(in crate::server) counting: Arc<tokio::sync::Mutex<()>>,
}

impl Caches {
    pub(super) fn counts(&self) -> CacheCounts {
        let Some(actions) = &self.actions else { return CacheCounts::default() };
        let stats = actions.cache().stats();
        CacheCounts {
            hits: stats.hits,
            misses: stats.misses,
            saved: stats.saved,
            evicted: stats.evicted,
            errors: stats.errors,
            received: stats.received,
            sent: stats.sent,
            entries: stats.entries,
            bytes: stats.bytes,
            uploads: stats.uploads,
            jobs: stats.jobs,
            storage_up: actions.cache().problem().is_none(),
        }
    }

    pub(super) async fn view(&self) -> CachesView {
        let own = &self.config.actions_cache;
        let actions = own.enabled.then(|| ActionsCacheView {
            up: self.actions.is_some(),
            address: format!("{}:{}", self.config.network.gateway(), own.port),
            directory: match self.actions.as_ref().and_then(|actions| actions.cache().bucket()) {
                Some(bucket) => bucket.to_owned(),
                None => own.directory(&self.config.state_dir).display().to_string(),
            },
            problem: self.actions.as_ref().and_then(|actions| actions.cache().problem()),
            max_bytes: own.max_size_mib.saturating_mul(1 << 20),
            max_repository_bytes: own.max_repository_mib.saturating_mul(1 << 20),
            counts: self.counts(),
        });
        let sticky = self.sticky().await;
        CachesView { actions, registries: self.registries().await, sticky }
    }

    /// Nothing where no pool has such directories, and nothing is left of any.
    async fn sticky(&self) -> Option<StickyView> {
        let volumes = self.sticky.clone()?;
        let list = tokio::task::spawn_blocking(move || volumes.list()).await.unwrap_or_default();
        if list.is_empty() && self.config.pools().iter().all(|pool| pool.sticky.is_empty()) {
            return None;
        }
        let own = &self.config.sticky;
        let volume = |volume: Volume| StickyVolumeView {
            owner: volume.name.owner,
            key: volume.name.key,
            disk_bytes: u64::from(volume.mib) << 20,
            bytes: volume.bytes,
            written_by: volume.writer.job,
            kept_at: volume.kept_at,
            last_used: at(volume.last_used),
        };
        Some(StickyView {
            max_bytes: own.max_size_mib.saturating_mul(1 << 20),
            bytes: list.iter().map(|volume| volume.bytes).sum(),
            volumes: list.into_iter().map(volume).collect(),
        })
    }

    pub(super) async fn gc_sticky(&self, request: CacheGcRequest) -> Result<CacheGcReport> {
        let volumes = self.sticky.clone().ok_or_else(|| {
            Fault::unavailable("what sticky directories keep could not be opened")
                .hint("the server's log says why")
        })?;
        let unused = request.unused_for_secs.map(Duration::from_secs);
        let cleaned = tokio::task::spawn_blocking(move || volumes.clean(request.max_bytes, unused)).await;
        let cleaned = cleaned.map_err(|error| Fault::internal(error.to_string()))?;
        Ok(CacheGcReport { removed: cleaned.volumes, freed: cleaned.bytes, left: cleaned.left })
    }

    async fn registries(&self) -> Option<RegistryCacheView> {
        let cache = registry_cache::of(&self.config)?;
        let storage = cache.storage.clone();
        let counting = Arc::clone(&self.counting);
        let counted = async move {
            let one = counting.lock_owned().await;
            let counted = tokio::task::spawn_blocking(move || {
                let _one = one;
                size(&storage, Instant::now() + COUNT)
            });
            counted.await.ok().flatten()
        };
        let mut view = self.registry_cache().await?;
        let answers = async |address: &str| {
            let connected = timeout(CONNECT, TcpStream::connect(address)).await;
            matches!(connected, Ok(Ok(_)))
        };
        let mirrors = view
            .mirrors
            .into_iter()
            .map(async |mirror| MirrorView { up: answers(&mirror.address).await, ..mirror });
        let proxy = async {
            let proxy = view.proxy?;
            Some(ProxyView { up: answers(&proxy.address).await, ..proxy })
        };
        let (mirrors, proxy, bytes) = tokio::join!(join_all(mirrors), proxy, timeout(COUNT, counted));
        view.mirrors = mirrors;
        view.proxy = proxy;
        view.bytes = bytes.ok().flatten();
        Some(view)
    }

    /// Without what is counted and who answers.
    pub(super) async fn registry_cache(&self) -> Option<RegistryCacheView> {
        let cache = registry_cache::of(&self.config)?;
        let limited = cache.program == Program::DockerRegistry;
        let (storage, file) = (cache.storage.clone(), cache.status_file());
        let look = move || {
            (registry_cache::free(&storage), limited.then(|| registry_cache::status(&file)).flatten())
        };
        let (free_bytes, status) = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let mirror = |mirror: Mirror| {
            let counts = status.as_ref().and_then(|status| status.registries.get(&mirror.registry));
            let counts = counts.map(|own| MirrorCounts {
                offline: own.offline,
                hits: own.hits,
                misses: own.misses,
                sent_bytes: own.sent_bytes,
                upstream_errors: own.upstream_errors,
            });
            MirrorView { registry: mirror.registry, address: mirror.host, up: false, counts }
        };
        let warm = |(image, problem): (String, Option<String>)| WarmImageView { image, problem };
        Some(RegistryCacheView {
            program: cache.program.as_str().to_owned(),
            directory: cache.storage.display().to_string(),
            bytes: None,
            free_bytes,
            keep_free_bytes: limited
                .then(|| self.config.registry_cache.keep_free_mib.saturating_mul(1 << 20)),
            counts: status
                .as_ref()
                .map(|status| RegistryCacheCounts { evicted_bytes: status.evicted_bytes, full: status.full }),
            mirrors: cache.mirrors().into_iter().map(mirror).collect(),
            proxy: cache.proxy_address().map(|address| ProxyView { address, up: false }),
            warm: status.map(|status| status.warm).unwrap_or_default().into_iter().map(warm).collect(),
        })
    }

    pub(super) fn entries(&self) -> Result<Vec<CacheEntryView>> {
        let cache = self.open()?.cache();
        let mut entries = cache.entries();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let view = |entry: Entry| {
            let unused = cache.unused_for(&entry);
            CacheEntryView {
                id: format!("{:x}", entry.id),
                repository: entry.place.repository.0,
                scope: entry.place.scope.0,
                key: entry.place.key.as_str().to_owned(),
                version: entry.place.version.as_str().to_owned(),
                size: entry.size,
                created_at: at(entry.created),
                last_used: at(SystemTime::now() - unused),
            }
        };
        Ok(entries.into_iter().map(view).collect())
    }

    pub(super) async fn gc(&self, request: CacheGcRequest) -> Result<CacheGcReport> {
        let cache = self.open()?.cache().clone();
        // What other hosts have saved and used counts, too.
        cache.tend().await.map_err(|error| Fault::unavailable(error.to_string()))?;
        let unused = request.unused_for_secs.map(Duration::from_secs);
        let cleaned = tokio::task::spawn_blocking(move || cache.clean(request.max_bytes, unused)).await;
        let cleaned = cleaned.map_err(|error| Fault::internal(error.to_string()))?;
        Ok(CacheGcReport { removed: cleaned.entries, freed: cleaned.bytes, left: cleaned.left })
    }

    fn open(&self) -> Result<&ActionsCache> {
        self.actions.as_ref().ok_or_else(|| {
            if self.config.actions_cache.enabled {
                Fault::unavailable("the cache of actions could not be opened")
                    .hint("the server's log says why")
            } else {
                Fault::not_found("the cache of actions is off")
                    .hint("write 'actions_cache: {enabled: true}' into the configuration")
            }
        })
    }
}

fn at(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}

/// Bytes of the files below a directory; what cannot be read counts as nothing. None where they cannot be counted until then.
fn size(top: &Path, until: Instant) -> Option<u64> {
    let (mut all, mut left): (u64, Vec<PathBuf>) = (0, vec![top.to_owned()]);
    while let Some(directory) = left.pop() {
        if Instant::now() > until {
            return None;
        }
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => left.push(entry.path()),
                Ok(found) => all = all.saturating_add(found.len()),
                Err(_) => {}
            }
        }
    }
    Some(all)
}
