//! The JSON documents of an image: index, manifest, config (OCI image-spec 1.1 and Docker's schema 2, which
//! differ only in names). Only what is needed is read; everything is checked.

use fireactions_model::Digest;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{ImageConfig, ImageError, Limits};

/// Largest index or manifest, as registries bound them.
pub(crate) const MANIFEST_MAX: u64 = 4 << 20;
/// Largest config.
pub(crate) const CONFIG_MAX: u64 = 8 << 20;
/// What to ask a registry for.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Content somewhere, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    /// Set for what is no image: an attestation, a signature, a list of parts.
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// A processor in the words of those who build images: names are compared as containerd does.
struct Processor {
    name: &'static str,
    also: &'static [&'static str],
    /// Variants that not every processor of its name runs.
    newer: &'static [&'static str],
}

const AMD64: Processor = Processor { name: "amd64", also: &["x86_64", "x86-64"], newer: &["v3", "v4"] };
const ARM64: Processor = Processor { name: "arm64", also: &["aarch64"], newer: &["v9"] };
/// Machines have the host's.
const OURS: Processor = if cfg!(target_arch = "aarch64") { ARM64 } else { AMD64 };

impl Processor {
    fn is(&self, os: &str, architecture: &str) -> bool {
        let named = |name: &&str| architecture.eq_ignore_ascii_case(name);
        os.eq_ignore_ascii_case("linux") && (named(&self.name) || self.also.iter().any(named))
    }

    /// Whether every processor of this name runs it.
    fn runs(&self, platform: &Platform) -> bool {
        let variant = platform.variant.as_deref().unwrap_or_default();
        let newer = self
            .newer
            .iter()
            .any(|newer| variant.get(..newer.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(newer)));
        self.is(&platform.os, &platform.architecture) && !newer
    }
}

impl Descriptor {
    /// Whether what it describes is no image, as far as the descriptor itself tells.
    fn is_artifact(&self) -> bool {
        let annotated = |key: &str| self.annotations.as_ref().is_some_and(|all| all.contains_key(key));
        self.artifact_type.as_ref().is_some_and(|kind| !kind.is_empty())
            || self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
            || annotated("vnd.docker.reference.type")
    }

    /// The tag that a layout's index gives it.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.annotations.as_ref()?.get("org.opencontainers.image.ref.name").map(String::as_str)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    artifact_type: Option<String>,
}

/// An index, or the manifest of one image.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// One image: its config and its layers, lowest first.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    to_digest(Sha256::new_with_prefix(bytes))
}

/// The digest of all that was fed to `hasher`.
pub(crate) fn to_digest(hasher: Sha256) -> Digest {
    Digest::from_sha256(hasher.finalize().into())
}

pub(crate) fn parse_document(bytes: &[u8]) -> Result<Document, ImageError> {
    let raw: RawDocument = serde_json::from_slice(bytes)
        .map_err(|e| ImageError::malformed(format!("its manifest is not valid: {e}")))?;
    match raw {
        RawDocument { schema_version: 1, .. } => Err(ImageError::Unsupported(
            "its manifest is of Docker's schema 1, obsolete since 2017; push it again with a current tool"
                .into(),
        )),
        // A document that is both is read one way here and another way elsewhere (CVE-2021-41190).
        RawDocument { manifests: Some(_), layers: Some(_), .. } => {
            Err(ImageError::malformed("its manifest claims to be an index and an image at once"))
        }
        RawDocument { manifests: Some(manifests), .. } => Ok(Document::Index(manifests)),
        RawDocument { config: Some(config), layers: Some(layers), .. } => {
            Ok(Document::Manifest(Manifest { config, layers }))
        }
        _ => Err(ImageError::Unsupported("its manifest is neither an image nor an index of images".into())),
    }
}

/// Whether a document is what something else than an image is kept in: it says so, or its config is not an image's.
pub(crate) fn is_artifact(document: &[u8]) -> bool {
    let Ok(raw) = serde_json::from_slice::<RawDocument>(document) else { return false };
    let of_image = |config: &Descriptor| {
        ["application/vnd.oci.image.config.", "application/vnd.docker.container.image."]
            .iter()
            .any(|kind| config.media_type.starts_with(kind))
    };
    raw.artifact_type.is_some_and(|kind| !kind.is_empty())
        || raw.config.is_some_and(|config| !config.media_type.is_empty() && !of_image(&config))
}

/// The image for this kind of machine, out of an index.
pub(crate) fn choose(index: &[Descriptor]) -> Result<&Descriptor, ImageError> {
    if let Some(found) =
        index.iter().find(|d| d.platform.as_ref().is_some_and(|platform| OURS.runs(platform)))
    {
        return Ok(found);
    }
    // An index of one image without a platform: the config will tell. Several names of one image are one image.
    let mut images = index.iter().filter(|d| !d.is_artifact());
    if let Some(first) = images.next()
        && first.platform.is_none()
        && images.all(|other| other.digest == first.digest)
    {
        return Ok(first);
    }
    let mut have: Vec<String> = index
        .iter()
        .filter_map(|d| d.platform.as_ref())
        .filter(|p| p.os != "unknown")
        .map(|p| format!("{:.32}/{:.32}", p.os, p.architecture))
        .take(20)
        .collect();
    have.sort();
    have.dedup();
    let have = if have.is_empty() { "none".to_string() } else { have.join(", ") };
    Err(ImageError::Unsupported(format!("it is not made for linux/{} (it has: {have})", OURS.name)))
}

#[derive(Debug, Deserialize)]
struct RawConfig {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<RawRun>,
    rootfs: RawRootfs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawRun {
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    stop_signal: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Reads a config: how to run the image, and the digest of each layer's uncompressed archive.
pub(crate) fn parse_config(bytes: &[u8]) -> Result<(ImageConfig, Vec<Digest>), ImageError> {
    let raw: RawConfig = serde_json::from_slice(bytes)
        .map_err(|e| ImageError::malformed(format!("its config is not that of an image: {e}")))?;
    if !OURS.is(&raw.os, &raw.architecture) {
        return Err(ImageError::Unsupported(format!(
            "it is made for {:.32}/{:.32}, but machines here are linux/{}",
            raw.os, raw.architecture, OURS.name
        )));
    }
    let run = raw.config.unwrap_or_default();
    let config = ImageConfig {
        env: run.env.unwrap_or_default(),
        user: run.user.unwrap_or_default(),
        workdir: run.working_dir.unwrap_or_default(),
        entrypoint: run.entrypoint.unwrap_or_default(),
        cmd: run.cmd.unwrap_or_default(),
        stop_signal: run.stop_signal.filter(|s| !s.is_empty()),
    };
    Ok((config, raw.rootfs.diff_ids.unwrap_or_default()))
}

impl Manifest {
    /// Checks what can be checked before anything is fetched.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), ImageError> {
        if self.config.size > CONFIG_MAX {
            return Err(ImageError::TooLarge { what: "its config in bytes", limit: CONFIG_MAX });
        }
        if self.layers.len() > limits.layers {
            return Err(ImageError::TooLarge {
                what: "the number of its layers",
                limit: limits.layers as u64,
            });
        }
        let total = self.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        if total > limits.compressed_bytes {
            return Err(ImageError::TooLarge {
                what: "its compressed size in bytes",
                limit: limits.compressed_bytes,
            });
        }
        for layer in &self.layers {
            let known =
                layer.media_type.contains(".image.layer.") || layer.media_type.contains(".image.rootfs.");
            if !known || layer.media_type.contains("encrypted") {
                return Err(ImageError::Unsupported(format!(
                    "a layer is of type '{:.100}', which is not a plain, gzip or zstd filesystem layer",
                    layer.media_type
                )));
            }
        }
        Ok(())
    }

    /// Compressed bytes of all layers.
    pub(crate) fn total(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_for_the_processors_that_run_it() {
        let platform = |architecture: &str, variant: &str| Platform {
            os: "Linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: Some(variant.to_owned()),
        };
        for (architecture, variant, amd64, arm64) in [
            ("amd64", "", true, false),
            ("X86_64", "v2", true, false),
            ("amd64", "v3", false, false),
            ("arm64", "v8", false, true),
            ("aarch64", "", false, true),
            ("arm64", "v9", false, false),
            ("arm64", "V9.2", false, false),
            ("arm", "v7", false, false),
            ("", "", false, false),
        ] {
            let platform = platform(architecture, variant);
            assert_eq!((AMD64.runs(&platform), ARM64.runs(&platform)), (amd64, arm64), "{platform:?}");
        }
        assert!(!AMD64.is("windows", "amd64"));
    }
}
