//! The host's caches.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The caches of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CachesView {
    /// What `actions/cache` saves; absent when it is off.
    pub actions: Option<ActionsCacheView>,
    /// The cache of registries; absent when it is off.
    pub registries: Option<RegistryCacheView>,
    /// What sticky directories keep; absent where no pool has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<StickyView>,
}

/// What sticky directories of pools keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StickyView {
    /// Most bytes that all of it takes on the host's disk.
    pub max_bytes: u64,
    /// Bytes that it takes.
    pub bytes: u64,
    /// The volumes, those used last first.
    pub volumes: Vec<StickyVolumeView>,
}

/// What one sticky directory keeps for the next job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StickyVolumeView {
    /// Whose it is: the forge's name in the configuration and the repository, or `pool/` and a pool of the built-in queue.
    pub owner: String,
    /// The key of the directory.
    pub key: String,
    /// Its size as a disk.
    pub disk_bytes: u64,
    /// What it takes on the host's disk.
    pub bytes: u64,
    /// Whose job left it.
    pub written_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub kept_at: Timestamp,
    /// When a machine was given it last.
    #[schema(value_type = String, format = DateTime)]
    pub last_used: Timestamp,
}

/// The cache of actions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionsCacheView {
    /// Whether jobs can use it. If not, the server's log says why.
    pub up: bool,
    /// Where guests reach it.
    pub address: String,
    /// Where its entries are: a directory, or `s3://BUCKET/PREFIX`.
    pub directory: String,
    /// What is wrong with the bucket at the moment: until that is over, jobs save and find nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Most bytes of all entries and uploads together.
    pub max_bytes: u64,
    /// Most bytes of the entries of one repository.
    pub max_repository_bytes: u64,
    /// What it did and has.
    pub counts: CacheCounts,
}

/// What the cache of actions has done since the server's start, and has now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheCounts {
    /// Searches that found an entry.
    pub hits: u64,
    /// Searches that found nothing.
    pub misses: u64,
    /// Entries that were saved.
    pub saved: u64,
    /// Entries that were removed: for room, or because nobody used them.
    pub evicted: u64,
    /// Requests that failed because of the host.
    pub errors: u64,
    /// Bytes that jobs have sent.
    pub received: u64,
    /// Bytes that jobs were sent.
    pub sent: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of all entries.
    pub bytes: u64,
    /// Uploads that are under way.
    pub uploads: u64,
    /// Jobs that may use it now.
    pub jobs: u64,
    /// Whether its directory, or its bucket, does what it is asked.
    #[serde(default)]
    pub storage_up: bool,
}

/// The cache of registries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistryCacheView {
    /// The program that caches: `zot` or `docker-registry`.
    pub program: String,
    /// Where its images are.
    pub directory: String,
    /// Bytes of that directory's files; absent when they could not be counted in time.
    pub bytes: Option<u64>,
    /// Bytes that are free on its file system; absent when that is not known.
    pub free_bytes: Option<u64>,
    /// Bytes that stay free there; absent where the program cannot be limited.
    pub keep_free_bytes: Option<u64>,
    /// What the running cache says; absent where it says nothing.
    pub counts: Option<RegistryCacheCounts>,
    /// The images that the running cache has tried to pull ahead.
    pub warm: Vec<WarmImageView>,
    /// The registries.
    pub mirrors: Vec<MirrorView>,
    /// The proxy for the web; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyView>,
}

/// The proxy for the guests' web.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProxyView {
    /// Where guests reach it.
    pub address: String,
    /// Whether something listens there.
    pub up: bool,
}

/// An image that is pulled ahead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WarmImageView {
    /// Its name.
    pub image: String,
    /// Why it is not in the cache; absent when it is.
    pub problem: Option<String>,
}

/// What the cache of registries has done since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistryCacheCounts {
    /// Bytes that were removed for room.
    pub evicted_bytes: u64,
    /// Less is free than is to stay free, and there is nothing left to remove: nothing new is cached.
    pub full: bool,
}

/// A registry that is cached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MirrorView {
    /// As images name it.
    pub registry: String,
    /// Where guests reach its cache.
    pub address: String,
    /// Whether something listens there.
    pub up: bool,
    /// What the running cache says of it; absent where it says nothing.
    pub counts: Option<MirrorCounts>,
}

/// What the cache of one registry has done since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MirrorCounts {
    /// The registry does not answer: what is cached is served, and nothing else.
    pub offline: bool,
    /// Answers with what was there.
    pub hits: u64,
    /// Answers with what was not.
    pub misses: u64,
    /// Bytes that were served.
    pub sent_bytes: u64,
    /// Times that the registry did not answer, or with an error of its own.
    pub upstream_errors: u64,
}

/// An entry of the cache of actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheEntryView {
    /// Its number.
    pub id: String,
    /// Whose it is: the forge's name in the configuration, the repository, and the repository's number there.
    pub repository: String,
    /// Which of the repository's jobs find it: those of a ref, or of one machine.
    pub scope: String,
    /// What it is found by.
    pub key: String,
    /// What of the same key does not mix, as its client has it.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// Saved.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Last found by a job.
    #[schema(value_type = String, format = DateTime)]
    pub last_used: Timestamp,
}

/// What to remove from a cache. What its limits demand goes in any case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheGcRequest {
    /// Remove the longest unused until no more than this many bytes are left.
    pub max_bytes: Option<u64>,
    /// Remove what was not used for this many seconds.
    pub unused_for_secs: Option<u64>,
}

/// What was removed from a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheGcReport {
    /// Entries, or sticky directories.
    pub removed: u64,
    /// Bytes freed.
    pub freed: u64,
    /// Bytes left.
    pub left: u64,
}
