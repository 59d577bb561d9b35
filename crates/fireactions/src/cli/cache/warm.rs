//! Images that are pulled through the cache ahead, so that the first guest finds them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header::{ACCEPT, HOST};
use axum::http::{Request, StatusCode};
use fireactions_http::plain;
use fireactions_model::{Digest, ExponentialBackoff, ImageRef, ImageSource, RemoteImage};
use fireactions_registry_cache::{Cache, Mirror};
use futures::{StreamExt, stream};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::wire;

/// Images at a time.
const AT_ONCE: usize = 2;
/// For a connection to the cache, which is on this host.
const CONNECT: Duration = Duration::from_secs(5);
/// Until more of an answer is there.
const STALLED: Duration = Duration::from_secs(120);
/// For a whole image.
const DEADLINE: Duration = Duration::from_secs(3600);
/// Until what is there is asked for again: docker-registry forgets after a week what it fetched.
const AGAIN: Duration = Duration::from_secs(24 * 3600);
/// The same of what failed: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));
/// Until the cache takes connections, between two tries.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Most bytes of an index or a manifest.
const DOCUMENT: usize = 4 << 20;
/// An index of an index of an index is a maze, not an image.
const DEPTH: usize = 3;
/// Most layers of an image.
const LAYERS: usize = 512;
/// What names an image's parts.
const DOCUMENTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What came of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Warmed {
    pub(super) layers: usize,
    pub(super) bytes: u64,
}

/// Why an image is not warm.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cold {
    #[error("{0}")]
    Reference(&'static str),
    #[error("it is not of a registry; only what registries have is cached")]
    NoRegistry,
    #[error("its registry '{registry}' is not cached; name it in registry_cache.mirrors")]
    NotCached { registry: String },
    #[error("the cache does not answer at {host}: {why}; is `fireactions cache run` running?")]
    Away { host: String, why: io::Error },
    #[error("the cache answered {status} for {what}{why}")]
    Refused { what: String, status: StatusCode, why: String },
    #[error("{what} is not what a registry sends: {why}")]
    Malformed { what: String, why: String },
    #[error("{what} did not come to its end: {why}")]
    Broken { what: String, why: String },
    #[error("it took longer than {} minutes", DEADLINE.as_secs() / 60)]
    Late,
}

/// What is known of the images that are to be warm: why one is not.
#[derive(Default)]
pub(super) struct Known(Mutex<BTreeMap<String, Option<String>>>);

impl Known {
    pub(super) fn get(&self) -> BTreeMap<String, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, image: &ImageRef, problem: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(image.to_string(), problem);
    }
}

/// Pulls some images, a few at a time, and hears of each as it ends.
pub(super) async fn all(
    cache: &Cache,
    images: &[ImageRef],
    mut ended: impl FnMut(&ImageRef, Result<Warmed, Cold>),
) {
    let pulls: Vec<_> = images.iter().map(|image| in_time(cache.clone(), image.clone())).collect();
    let mut pulls = stream::iter(pulls).buffer_unordered(AT_ONCE);
    while let Some((image, pulled)) = pulls.next().await {
        ended(&image, pulled);
    }
}

/// Keeps images warm until all is to stop.
pub(super) async fn keep(
    cache: Cache,
    images: Vec<ImageRef>,
    known: std::sync::Arc<Known>,
    mut stop: watch::Receiver<bool>,
) {
    let work = async {
        listens(&cache).await;
        let mut backoff = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
        let mut left = images.clone();
        loop {
            let mut failed = Vec::new();
            all(&cache, &left, |image, pulled| match pulled {
                Ok(Warmed { layers, bytes }) => {
                    tracing::info!(%image, layers, bytes, "the image is in the cache");
                    known.set(image, None);
                }
                Err(why) => {
                    tracing::warn!(%image, "the image could not be pulled ahead: {why}");
                    known.set(image, Some(why.to_string()));
                    failed.push(image.clone());
                }
            })
            .await;
            if failed.is_empty() {
                backoff.succeeded();
                sleep(ExponentialBackoff::jitter(AGAIN, rand::random())).await;
                left.clone_from(&images);
            } else {
                sleep(backoff.failed(rand::random())).await;
                left = failed;
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Until guests are served: the bridge may not be there yet.
async fn listens(cache: &Cache) {
    let mut backoff = ExponentialBackoff::new(WAITS.0, WAITS.1);
    for mirror in cache.mirrors() {
        while connect(&mirror.host).await.is_err() {
            sleep(backoff.failed(rand::random())).await;
        }
    }
}

async fn in_time(cache: Cache, image: ImageRef) -> (ImageRef, Result<Warmed, Cold>) {
    let pulled = timeout(DEADLINE, pull(&cache, &image)).await;
    (image, pulled.unwrap_or(Err(Cold::Late)))
}

async fn pull(cache: &Cache, image: &ImageRef) -> Result<Warmed, Cold> {
    let ImageSource::Registry(RemoteImage { registry, repository, version, .. }) =
        ImageSource::of(image).map_err(Cold::Reference)?
    else {
        return Err(Cold::NoRegistry);
    };
    let mirrors = cache.mirrors();
    let Some(mirror) = mirrors.iter().find(|mirror| mirror.registry == registry) else {
        return Err(Cold::NotCached { registry });
    };
    let mut name = version;
    for _ in 0..DEPTH {
        let what = format!("manifests/{name}");
        let document = document(mirror, &repository, &what).await?;
        let malformed = |why: &str| Cold::Malformed { what: what.clone(), why: why.to_owned() };
        if document.layers.len() > LAYERS {
            return Err(malformed("it has too many layers"));
        }
        let Some(config) = document.config else {
            let own = document.manifests.into_iter().find(Descriptor::is_ours);
            name =
                own.ok_or_else(|| malformed("it has no image for this host's processor"))?.digest.to_string();
            continue;
        };
        let (mut bytes, layers) = (0, document.layers.len());
        for part in std::iter::once(config).chain(document.layers) {
            bytes += blob(mirror, &repository, &part.digest).await?;
        }
        return Ok(Warmed { layers, bytes });
    }
    Err(Cold::Malformed { what: format!("manifests/{name}"), why: "indexes are nested too deep".to_owned() })
}

/// An index or a manifest.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

impl Descriptor {
    /// Guests have the host's processor.
    fn is_ours(&self) -> bool {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        self.platform.as_ref().is_some_and(|own| own.os == "linux" && own.architecture == architecture)
    }
}

async fn document(mirror: &Mirror, repository: &str, what: &str) -> Result<Document, Cold> {
    let mut body = get(mirror, repository, what).await?;
    let mut text = Vec::new();
    while let Some(chunk) = next(&mut body, what).await? {
        text.extend_from_slice(&chunk);
        if text.len() > DOCUMENT {
            return Err(Cold::Malformed { what: what.to_owned(), why: "it is too long".to_owned() });
        }
    }
    serde_json::from_slice(&text)
        .map_err(|error| Cold::Malformed { what: what.to_owned(), why: plain(&error.to_string()) })
}

/// Fetches a blob to its end, and keeps nothing of it here.
async fn blob(mirror: &Mirror, repository: &str, digest: &Digest) -> Result<u64, Cold> {
    let what = format!("blobs/{digest}");
    let mut body = get(mirror, repository, &what).await?;
    let mut bytes = 0;
    while let Some(chunk) = next(&mut body, &what).await? {
        bytes += chunk.len() as u64;
    }
    Ok(bytes)
}

async fn connect(host: &str) -> io::Result<TcpStream> {
    timeout(CONNECT, TcpStream::connect(host)).await?
}

async fn get(mirror: &Mirror, repository: &str, what: &str) -> Result<BodyDataStream, Cold> {
    let away = |why| Cold::Away { host: mirror.host.clone(), why };
    let prefix = mirror.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
    let request = Request::get(format!("/v2/{prefix}{repository}/{what}"))
        .header(HOST, &mirror.host)
        .header(ACCEPT, DOCUMENTS)
        .body(Body::empty())
        .map_err(|error| Cold::Malformed { what: what.to_owned(), why: error.to_string() })?;
    let io = connect(&mirror.host).await.map_err(away)?;
    let answer = wire::ask(io, request).await.map_err(away)?;
    let status = answer.status();
    let mut body = Body::new(answer.into_body()).into_data_stream();
    if status == StatusCode::OK {
        return Ok(body);
    }
    let text = next(&mut body, what).await.ok().flatten().unwrap_or_default();
    Err(Cold::Refused { what: what.to_owned(), status, why: words(&text) })
}

async fn next(body: &mut BodyDataStream, what: &str) -> Result<Option<axum::body::Bytes>, Cold> {
    let broken = |why: String| Cold::Broken { what: what.to_owned(), why };
    let next = timeout(STALLED, body.next()).await;
    let next = next.map_err(|_| broken(format!("nothing came for {} seconds", STALLED.as_secs())))?;
    next.transpose().map_err(|error| broken(plain(&error.to_string())))
}

/// What a registry says of an error.
fn words(text: &[u8]) -> String {
    let said: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
    match said["errors"][0]["message"].as_str() {
        Some(message) => format!(" ({})", plain(&message.chars().take(200).collect::<String>())),
        None => String::new(),
    }
}
