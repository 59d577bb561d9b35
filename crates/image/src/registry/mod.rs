//! Registries: the OCI distribution protocol (1.1; Docker Registry v2 is the same for pulling).
//!
//! A thin client of our own over reqwest. `oci-client` was tried: resuming by Range into a file with our own
//! verification, deadlines on stalled reads, credential helpers and the rule about plain HTTP would all have been
//! built around it, and nothing but the URLs would have been left inside.

mod auth;
mod blobs;
mod credentials;
mod http;
mod places;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fireactions_model::Digest;
use reqwest::{Method, StatusCode, header};

use crate::blob::verify;
use crate::manifest::{ACCEPT, Descriptor, MANIFEST_MAX, sha256};
use crate::{ImageError, ImagesConfig};
use auth::Auth;
pub(crate) use blobs::BlobCache;
use http::Http;
pub(crate) use places::Places;

/// Docker Hub's name in references, and its API's host.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// Everything needed to talk to registries. One per store.
pub(crate) struct Registries {
    http: Http,
    auth: Auth,
    config: Arc<ImagesConfig>,
}

/// One repository, at the host that answered.
#[derive(Debug, Clone)]
struct Repository {
    /// As people write it; key of credentials.
    registry: String,
    /// Without a slash at the end, e.g. `https://registry-1.docker.io`.
    base: String,
    name: String,
    /// As `Timeouts::attempts`.
    attempts: u32,
}

impl Repository {
    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base, self.name)
    }
}

impl Registries {
    pub(crate) fn new(config: Arc<ImagesConfig>) -> Result<Self, ImageError> {
        let http = Http::new(&config)?;
        let auth =
            Auth::new(config.docker_config.clone().or_else(default_docker_config), config.timeouts.helper);
        Ok(Self { http, auth, config })
    }

    /// The document that a tag or digest names, if there is an answer. Nothing is fetched for that: Docker Hub counts only what
    /// is.
    async fn named(&self, repository: &Repository, version: &str) -> Option<String> {
        let url = repository.url(&format!("manifests/{version}"));
        let response = self.send(repository, Method::HEAD, &url, accept(Some(ACCEPT))).await.ok()?;
        let told = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        told.filter(|_| response.status() == StatusCode::OK).map(str::to_owned)
    }

    async fn document_at(
        &self,
        repository: &Repository,
        version: &str,
        pinned: Option<&Digest>,
    ) -> Result<(Vec<u8>, Digest), ImageError> {
        let url = repository.url(&format!("manifests/{version}"));
        let bytes = self.small(repository, &url, Some(ACCEPT), MANIFEST_MAX).await?;
        let digest = sha256(&bytes);
        if let Some(pinned) = pinned {
            verify("manifest", pinned, digest.clone())?;
        }
        Ok((bytes, digest))
    }

    async fn small_blob_at(
        &self,
        repository: &Repository,
        what: &str,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, ImageError> {
        let url = repository.url(&format!("blobs/{}", descriptor.digest));
        let bytes = self.small(repository, &url, None, descriptor.size).await?;
        verify(what, &descriptor.digest, sha256(&bytes))?;
        Ok(bytes)
    }

    /// Gets something that fits in memory, with retries.
    async fn small(
        &self,
        repository: &Repository,
        url: &str,
        media_types: Option<&str>,
        max: u64,
    ) -> Result<Vec<u8>, ImageError> {
        let mut retry = http::Retry::new(repository, self.config.timeouts.backoff);
        loop {
            let attempt = async {
                let response = self.send(repository, Method::GET, url, accept(media_types)).await?;
                if response.status() != StatusCode::OK {
                    return Err(http::refusal(repository, response).await);
                }
                http::no_web_page(&repository.registry, &response)?;
                http::body(&repository.registry, response, max).await
            };
            match attempt.await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => retry.wait(failure).await?,
            }
        }
    }

    /// One request, with authentication: asked for, it is got and the request repeated once.
    async fn send(
        &self,
        repository: &Repository,
        method: Method,
        url: &str,
        headers: header::HeaderMap,
    ) -> Result<reqwest::Response, http::Attempt> {
        let client = self.http.client(url);
        let mut authorization = self.auth.cached(repository);
        for fresh in [false, true] {
            let mut request = client.request(method.clone(), url).headers(headers.clone());
            if let Some(value) = authorization.clone() {
                request = request.header(header::AUTHORIZATION, value);
            }
            let response =
                request.send().await.map_err(|e| http::Attempt::from_reqwest(&repository.registry, &e))?;
            if response.status() != StatusCode::UNAUTHORIZED || fresh {
                return Ok(response);
            }
            authorization = Some(self.auth.answer(&self.http, repository, response.headers()).await?);
        }
        Err(http::Attempt::Final(ImageError::Internal("no answer from a registry".into())))
    }
}

fn accept(media_types: Option<&str>) -> header::HeaderMap {
    let value = media_types.and_then(|types| types.parse().ok());
    value.into_iter().map(|value| (header::ACCEPT, value)).collect()
}

fn default_docker_config() -> Option<PathBuf> {
    let dir = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")))?;
    Some(dir.join("config.json")).filter(|path| path.exists())
}
