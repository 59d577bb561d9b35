//! The image store.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AbsolutePath, Duration, patterns};

/// The image store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImagesConfig {
    /// Size limit of the store, in MiB. While it is larger, images that no machine uses are removed, the longest unused
    /// first. No limit when absent.
    #[schemars(range(min = 16), example = 20480)]
    pub max_size_mib: Option<u64>,
    /// Images that were not used for this long are removed. Never when absent.
    #[schemars(example = "30d")]
    pub unused_for: Option<Duration>,
    /// Limits of an image.
    pub limits: ImageLimits,
    /// Directories of this host from which jobs and `fireactions image pull` may take `oci:` and `oci-archive:` images,
    /// by absolute paths; symbolic links that lead out of them are not followed. Images of pools need not be in one of
    /// them.
    #[schemars(example = ["/srv/images"])]
    pub local_dirs: Vec<AbsolutePath>,
    /// Registries (`host[:port]`) that may be contacted without TLS. If one uses TLS, any certificate is accepted. Loopback
    /// registries need not be listed.
    #[schemars(inner(regex(pattern = patterns::REGISTRY)), example = ["registry.lan:5000"])]
    pub insecure_registries: Vec<String>,
    /// Mirrors of registries: by the registry that stands in references (`docker.io` for short names), the servers
    /// (`host[:port]`, or `host[:port]/path` if its repositories begin so there) that are asked first, in this order. One that
    /// fails, or sends something else than a digest says, is passed over, with a warning in the log; the registry itself is
    /// asked last. What a tag names is what the first server says. Each has its own login and TLS, as registries do.
    #[schemars(example = serde_json::json!({"docker.io": ["mirror.lan:5000", "harbor.lan/hub"]}))]
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Certificates (PEM) of authorities that registries may have in addition to the usual ones.
    #[schemars(example = "/etc/ssl/certs/company.pem")]
    pub ca_file: Option<AbsolutePath>,
    /// Docker's `config.json` with registry credentials and credential helpers; anonymous when absent.
    #[schemars(example = "/root/.docker/config.json")]
    pub docker_config: Option<AbsolutePath>,
}

/// Limits of one image. A larger one is refused with a clear error, and nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageLimits {
    /// Maximum number of layers.
    #[schemars(range(min = 1, max = 4096))]
    pub max_layers: u32,
    /// Maximum size of all compressed layers together, in MiB.
    #[schemars(range(min = 1))]
    pub max_compressed_mib: u64,
    /// Maximum size of all uncompressed layers together, in MiB.
    #[schemars(range(min = 1))]
    pub max_unpacked_mib: u64,
    /// Maximum number of files, directories and links in all layers.
    #[schemars(range(min = 1))]
    pub max_entries: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_layers: 256,
            max_compressed_mib: 20 * 1024,
            max_unpacked_mib: 64 * 1024,
            max_entries: 5_000_000,
        }
    }
}
