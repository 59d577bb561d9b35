//! Where one image is to be had: at the mirrors of its registry, in their order, then at the registry itself. A mirror that fails
//! or lies is passed over for the rest of the pull.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use fireactions_model::{Digest, RemoteImage};
use tokio::sync::OnceCell;

use super::{BlobCache, HUB, Registries, Repository};
use crate::ImageError;
use crate::blob::Blob;
use crate::cancel::Cancel;
use crate::manifest::{Descriptor, parse_document};

/// The places of one image, for one pull.
pub(crate) struct Places(Vec<Place>);

struct Place {
    /// As in configurations: key of credentials, name in messages.
    registry: String,
    /// `host[:port]`.
    host: String,
    repository: String,
    mirror: bool,
    /// Known once it was needed: some registries are asked for it.
    found: OnceCell<Repository>,
    passed_over: AtomicBool,
}

impl Place {
    async fn repository(&self, registries: &Registries) -> &Repository {
        let find = || async {
            Repository {
                registry: self.registry.clone(),
                base: registries.http.base(&self.host).await,
                name: self.repository.clone(),
                attempts: if self.mirror { 1 } else { registries.config.timeouts.attempts },
            }
        };
        self.found.get_or_init(find).await
    }

    /// Whether what came of a question is the answer, or the next place is to be asked.
    fn judge<T>(&self, result: Result<T, ImageError>) -> ControlFlow<Result<T, ImageError>> {
        match result {
            Err(error) if self.mirror && error.is_of_source() => {
                self.pass_over(&error.to_string());
                ControlFlow::Continue(())
            }
            other => ControlFlow::Break(other),
        }
    }

    fn pass_over(&self, why: &str) {
        tracing::warn!(mirror = self.registry, image = self.repository, why, "a mirror is passed over");
        self.passed_over.store(true, Ordering::Relaxed);
    }
}

impl Places {
    /// The image's own registry, whatever mirrors it has.
    pub(crate) fn registry(&self) -> &str {
        self.0.iter().find(|place| !place.mirror).map_or("", |place| &place.registry)
    }

    fn left(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter(|place| !place.passed_over.load(Ordering::Relaxed))
    }
}

/// The last place is the registry itself, whose answer counts whatever it is.
fn nowhere<T>() -> Result<T, ImageError> {
    Err(ImageError::Internal("an image without a registry".into()))
}

impl Registries {
    /// Where `remote` is.
    pub(crate) fn places(&self, remote: &RemoteImage) -> Places {
        let place = |registry: &str, host: &str, repository: String, mirror| Place {
            registry: registry.to_owned(),
            host: host.to_owned(),
            repository,
            mirror,
            found: OnceCell::new(),
            passed_over: AtomicBool::new(false),
        };
        let mirrors = self.config.mirrors.get(&remote.registry).into_iter().flatten().map(|mirror| {
            let (host, path) = mirror.split_once('/').unwrap_or((mirror, ""));
            let repository = [path, &remote.repository].into_iter().filter(|part| !part.is_empty());
            place(host, host, repository.collect::<Vec<_>>().join("/"), true)
        });
        let host = if remote.registry == HUB.0 { HUB.1 } else { &remote.registry };
        let itself = place(&remote.registry, host, remote.repository.clone(), false);
        Places(mirrors.chain([itself]).collect())
    }

    /// Whether a tag or digest still names this document, according to the first place that can tell. No answer is a no; who
    /// then fetches the document hears why.
    pub(crate) async fn still_names(&self, places: &Places, version: &str, known: &Digest) -> bool {
        for place in places.left() {
            match self.named(place.repository(self).await, version).await {
                Some(told) => return told == known.as_str(),
                None if place.mirror => place.pass_over("it does not say what the tag names"),
                None => {}
            }
        }
        false
    }

    /// An index or manifest by tag or digest.
    pub(crate) async fn document(
        &self,
        places: &Places,
        version: &str,
        pinned: Option<&Digest>,
    ) -> Result<(Vec<u8>, Digest), ImageError> {
        for place in places.left() {
            let repository = place.repository(self).await;
            let found = match self.document_at(repository, version, pinned).await {
                // Understood by no one: let the next place say something else.
                Ok((bytes, digest)) if place.mirror => parse_document(&bytes).map(|_| (bytes, digest)),
                other => other,
            };
            if let ControlFlow::Break(answer) = place.judge(found) {
                return answer;
            }
        }
        nowhere()
    }

    /// A verified small blob, e.g. a config.
    pub(crate) async fn small_blob(
        &self,
        places: &Places,
        what: &str,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, ImageError> {
        for place in places.left() {
            let repository = place.repository(self).await;
            if let ControlFlow::Break(answer) =
                place.judge(self.small_blob_at(repository, what, descriptor).await)
            {
                return answer;
            }
        }
        nowhere()
    }

    /// A verified layer. `progress` hears how many bytes of it are here.
    pub(crate) async fn layer(
        &self,
        cache: &BlobCache,
        places: &Places,
        descriptor: &Descriptor,
        cancel: &Cancel,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Blob, ImageError> {
        for place in places.left() {
            let repository = place.repository(self).await;
            let layer = self.layer_at(cache, repository, descriptor, cancel, &progress).await;
            if let ControlFlow::Break(answer) = place.judge(layer) {
                return answer;
            }
        }
        nowhere()
    }
}
