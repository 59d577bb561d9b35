//! What callers see: the finished root image, its configuration, settings, progress and reports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::{Digest, ImageRef};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::TemplateLimits;

/// What an OCI image says about running it. Fields that the image leaves out are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// `name`, `uid`, `uid:gid` or `name:group`; empty means root.
    pub user: String,
    /// Absolute guest path; empty means `/`.
    pub workdir: String,
    /// Put before the arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Signal that asks the program to end, e.g. `SIGTERM` or `15`.
    pub stop_signal: Option<String>,
}

/// A root filesystem, ready to be attached to a machine read-only. While one of these is there, the image is not removed: a
/// machine that is being made of it is in nobody's list yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootImage {
    /// The image's id: the digest of its OCI config, which names every layer's uncompressed digest. The same id is
    /// always the same tree.
    pub digest: Digest,
    /// The squashfs file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// How the image wants to be run.
    pub config: ImageConfig,
    #[serde(skip)]
    pub(crate) hold: Arc<()>,
}

/// One stored root image, for listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// As in [`RootImage::digest`].
    pub digest: Digest,
    /// References that lead to it now; empty when every tag moved on.
    pub names: Vec<ImageRef>,
    /// Bytes of its squashfs.
    pub size: u64,
    /// Bytes of the templates of machines that run it.
    pub templates: u64,
    /// When it was converted.
    pub created_at: Timestamp,
    /// When a machine last asked for it.
    pub last_used: Timestamp,
}

/// How far an image is. Each value replaces the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The reference is being looked up.
    Resolving,
    /// Layers are being fetched and checked.
    Pulling {
        /// Compressed bytes had so far.
        done: u64,
        /// Compressed bytes in all.
        total: u64,
    },
    /// The squashfs is being written.
    Converting {
        /// Bytes of file content written so far.
        done: u64,
        /// Bytes of file content in all.
        total: u64,
    },
    /// Done.
    Ready,
}

/// Hears [`Progress`]. Called from the task that awaits [`crate::Images::ensure`]; must not block.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// Bounds on what an image may make us do. Images are hostile input: each bound has a clear error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most layers of one image.
    pub layers: usize,
    /// Most archive entries of one image, over all layers.
    pub entries: u64,
    /// Most bytes of memory for the list of an image's files (256 bytes each, and their names, link targets and
    /// attributes) while it is flattened.
    pub metadata_bytes: u64,
    /// Most compressed bytes of one image.
    pub compressed_bytes: u64,
    /// Most uncompressed bytes of one image, over all layers.
    pub uncompressed_bytes: u64,
    /// A layer that unpacks to more than this many times its compressed size is refused as a decompression bomb,
    /// once it passed 1 GiB.
    pub expansion: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            layers: 512,
            entries: 2_000_000,
            metadata_bytes: 512 << 20,
            compressed_bytes: 32 << 30,
            uncompressed_bytes: 64 << 30,
            expansion: 200,
        }
    }
}

/// Deadlines on a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// Between two pieces of an answer.
    pub stall: Duration,
    /// For a credential helper's answer.
    pub helper: Duration,
    /// First wait between two attempts; grows to 64 times this, with jitter.
    pub backoff: Duration,
    /// Attempts in a row without a single new byte before giving up.
    pub attempts: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            helper: Duration::from_secs(30),
            backoff: Duration::from_millis(500),
            attempts: 6,
        }
    }
}

/// Which `oci:` and `oci-archive:` references are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalSources {
    /// All.
    Any,
    /// These, whatever they are, and what is in these directories.
    Only {
        /// What the operator names: the pools' own.
        images: BTreeSet<ImageRef>,
        /// Where others may name any. No link leads out of them.
        dirs: Vec<PathBuf>,
    },
}

/// Settings of the image store.
#[derive(Debug, Clone)]
pub struct ImagesConfig {
    /// Default of [`GcPolicy::max_bytes`].
    pub max_bytes: Option<u64>,
    /// Compressed layers are kept up to this many bytes, so that images sharing layers are not fetched twice.
    pub layer_cache_bytes: u64,
    /// Root images used within this time are never collected: a machine may be about to open them.
    pub grace: Duration,
    /// Bounds on the templates of machines.
    pub templates: TemplateLimits,
    /// Bounds on images.
    pub limits: Limits,
    /// What of this host may be read as an image.
    pub local: LocalSources,
    /// Registry hosts (`host` or `host:port`) that may be spoken to without TLS, or with any certificate. Loopback always may.
    pub insecure_registries: Vec<String>,
    /// By registry, as in references: where its images are asked for first, in this order; `host[:port]`, with the beginning of
    /// repositories' names there behind it (`host/path`).
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Certificates of authorities for registries, besides the usual ones, in PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Docker's `config.json` with credentials. When absent: `$DOCKER_CONFIG/config.json`, then
    /// `~/.docker/config.json`, where they exist.
    pub docker_config: Option<PathBuf>,
    /// Layers of one image fetched at the same time, at least 1.
    pub parallel: usize,
    /// Deadlines and retries.
    pub timeouts: Timeouts,
    /// The `tar2sqfs` of squashfs-tools-ng, looked up in `PATH` when it has no slash.
    pub tar2sqfs: PathBuf,
    /// The `zstd` that unpacks layers, looked up in `PATH` when it has no slash.
    pub zstd: PathBuf,
    /// User and group that they run as where the server is root; nobody else's.
    pub converter_uid: u32,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        Self {
            max_bytes: None,
            layer_cache_bytes: 2 << 30,
            grace: Duration::from_secs(600),
            templates: TemplateLimits::default(),
            limits: Limits::default(),
            local: LocalSources::Any,
            insecure_registries: Vec::new(),
            mirrors: BTreeMap::new(),
            ca_pem: None,
            docker_config: None,
            parallel: 4,
            timeouts: Timeouts::default(),
            tar2sqfs: PathBuf::from("tar2sqfs"),
            zstd: PathBuf::from("zstd"),
            converter_uid: 1_899_999_999,
        }
    }
}

/// What a collection removes, besides images that no name leads to any more and templates beyond their limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GcPolicy {
    /// Remove the least recently used until the rest is at most this many bytes.
    pub max_bytes: Option<u64>,
    /// Remove what was not used for this long.
    pub unused_for: Option<Duration>,
}

/// What a collection did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GcReport {
    /// Root images removed.
    pub removed: Vec<Digest>,
    /// Bytes given back, templates and cached layers included.
    pub freed: u64,
    /// Bytes of root images and templates still stored.
    pub kept: u64,
}
