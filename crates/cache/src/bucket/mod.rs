//! Entries in a bucket of S3, which several hosts share.
//!
//! ```text
//! PREFIX/v1/entries/REPOSITORY/PLACE    what an entry is, and the number of its content; written if there is none
//! PREFIX/v1/content/REPOSITORY/ID       content
//! PREFIX/v1/used/REPOSITORY/ID          written again when an entry is used
//! PREFIX/v1/clock                       written to learn the bucket's time
//! ```
//!
//! Content comes first, and what makes it an entry last. So a host that is killed leaves content of no entry, which goes
//! after a day, and never an entry without its content.

use std::fmt;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use fireactions_model::Secret;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{
    BackoffConfig, Certificate, ClientOptions, GetOptions, ObjectStore as _, ObjectStoreExt as _, PutMode,
    PutPayload, RetryConfig,
};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::index::{Entry, EntryId};
use crate::storage::{Finished, Pieces, Storage};
use crate::{CacheError, Place};

mod content;
mod health;
mod journal;
mod look;
mod names;
mod once;
mod seen;
mod uses;

pub(crate) use content::LARGEST;
pub(crate) use look::Changes;

use health::Health;
use journal::{Journal, Left};
use look::Card;
use names::{Kind, Names};
use once::Once;
use seen::{Known, Mark, Seen, Touched};

/// Until a connection is there.
const CONNECTED: Duration = Duration::from_secs(5);
/// How long the bucket may say nothing in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// Until what is small is done.
const QUICK: Duration = Duration::from_secs(30);
/// Requests that fail are made again for so long, with growing pauses.
const RETRIED: Duration = Duration::from_secs(10);
/// Removals at a time.
const REMOVALS: usize = 8;

/// The name of the entry that an object says it is.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn name_of_card(prefix: &str, text: &[u8]) -> Option<String> {
    Card::parse(text).map(|card| Names::new(prefix).entry(&card.label.place).to_string())
}

/// A bucket, and who asks for it.
#[derive(Debug, Clone)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// The server's address, such as `https://s3.example.com`; when absent, that of AWS in the region.
    pub endpoint: Option<String>,
    /// Where it is, such as `eu-central-1`.
    pub region: String,
    /// What the names of all objects begin with; empty for nothing.
    pub prefix: String,
    /// Who asks.
    pub access_key_id: String,
    /// How that is proved.
    pub secret_access_key: Secret,
    /// Certificates (PEM) of authorities to trust in addition to the usual ones.
    pub ca: Option<Vec<u8>>,
    /// The bucket's name is a part of the server's, not of the path.
    pub virtual_hosted: bool,
}

impl S3 {
    /// As people write it.
    fn shown(&self) -> String {
        let prefix = self.prefix.trim_matches('/');
        format!("s3://{}{}{prefix}", self.bucket, if prefix.is_empty() { "" } else { "/" })
    }

    fn client(&self) -> Result<AmazonS3, CacheError> {
        let wrong = |why: String| CacheError::Bucket { what: "be used", why };
        let mut options = ClientOptions::new()
            .with_connect_timeout(CONNECTED)
            .with_read_timeout(SILENCE)
            // An entry takes as long as its guest does.
            .with_timeout_disabled();
        if let Some(ca) = &self.ca {
            let all = Certificate::from_pem_bundle(ca).map_err(|error| wrong(error.to_string()))?;
            options = all.into_iter().fold(options, ClientOptions::with_root_certificate);
        }
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: RETRIED };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(self.secret_access_key.expose())
            .with_virtual_hosted_style_request(self.virtual_hosted)
            .with_client_options(options)
            .with_retry(retry)
            // Whether that is right is the configuration's to say.
            .with_allow_http(true);
        if let Some(endpoint) = &self.endpoint {
            let endpoint = endpoint.trim_end_matches('/');
            builder = builder.with_endpoint(match endpoint.split_once("://") {
                Some((scheme, host)) if self.virtual_hosted => format!("{scheme}://{}.{host}", self.bucket),
                _ => endpoint.to_owned(),
            });
        }
        builder.build().map_err(|error| wrong(error.to_string()))
    }
}

/// Copies are the same one.
#[derive(Clone)]
pub(crate) struct Bucket(Arc<Inner>);

struct Inner {
    s3: AmazonS3,
    shown: String,
    names: Names,
    health: Health,
    once: Once,
    seen: Mutex<Seen>,
    journal: Journal,
    /// Uploads that were given up here, or that servers before this one have begun and not ended.
    left: Mutex<Vec<(EntryId, Left)>>,
    /// Parts of content.
    memory: Semaphore,
    removing: Arc<Semaphore>,
    /// How many removals there are that go on.
    removals: watch::Sender<usize>,
    /// For what nobody waits for.
    runtime: Handle,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.0.shown).finish()
    }
}

impl Bucket {
    /// Nothing is asked of the bucket yet: a host starts without it, too. `journal` is a directory of its own.
    pub(crate) fn open(s3: &S3, journal: &FilePath, runtime: Handle) -> Result<Self, CacheError> {
        let journal = Journal::open(journal)?;
        Ok(Self(Arc::new(Inner {
            s3: s3.client()?,
            shown: s3.shown(),
            names: Names::new(&s3.prefix),
            health: Health::default(),
            once: Once::default(),
            seen: Mutex::default(),
            left: Mutex::new(journal.left()?),
            journal,
            memory: Semaphore::new(content::IN_MEMORY),
            removing: Arc::new(Semaphore::new(REMOVALS)),
            removals: watch::Sender::new(0),
            runtime,
        })))
    }

    /// `s3://BUCKET/PREFIX`.
    pub(crate) fn shown(&self) -> &str {
        &self.0.shown
    }

    /// What is wrong with it, if something is.
    pub(crate) fn problem(&self) -> Option<String> {
        self.0.health.problem()
    }

    /// Until all that was to be removed is.
    pub(crate) async fn removed(&self) {
        let _ = self.0.removals.subscribe().wait_for(|removals| *removals == 0).await;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self) -> MutexGuard<'_, Vec<(EntryId, Left)>> {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<T>(
        &self,
        what: &'static str,
        deadline: Duration,
        asking: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, CacheError> {
        self.0.health.ask(what, deadline, asking).await
    }

    async fn quick<T>(
        &self,
        what: &'static str,
        asking: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, CacheError> {
        self.ask(what, QUICK, asking).await
    }

    /// What no longer is there need not be removed.
    async fn remove_now(&self, place: &Place, id: EntryId) -> Result<(), CacheError> {
        let name = self.0.names.entry(place);
        // Another host may have removed it and saved anew at its place.
        match self.card_at(&name).await {
            Ok(Some(card)) if card.id == id => self.delete(&name).await?,
            Ok(_) | Err(CacheError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        for kind in [Kind::Content, Kind::Used] {
            self.delete(&self.0.names.numbered(kind, &place.repository, id)).await?;
        }
        Ok(())
    }

    async fn delete(&self, name: &object_store::path::Path) -> Result<(), CacheError> {
        match self.quick("remove", self.0.s3.delete(name)).await {
            Err(CacheError::NotFound(_)) => Ok(()),
            deleted => deleted,
        }
    }
}

#[async_trait]
impl Storage for Bucket {
    async fn store(&self, finished: &Finished) -> Result<(), CacheError> {
        self.put_content(finished).await
    }

    async fn publish(&self, finished: &Finished) -> Result<(), CacheError> {
        let name = self.0.names.entry(&finished.label.place);
        let card = Card { id: finished.id, label: finished.label.clone() };
        let text = serde_json::to_vec(&card).map_err(|error| CacheError::Invalid(error.to_string()))?;
        fail::fail_point!("cache::before-card");
        // Whoever is first has the place: the bucket decides that among all hosts.
        let put = self.0.s3.put_opts(&name, PutPayload::from(text), PutMode::Create.into());
        let put = match self.quick("save", put).await {
            Err(CacheError::Exists) => match self.card_at(&name).await {
                // It is this very one, if the answer to its first request was lost.
                Ok(Some(card)) if card.id == finished.id => None,
                // Removed since then, or a server that refuses what comes second before it shows what came first.
                Ok(_) | Err(CacheError::NotFound(_)) => return Err(CacheError::Exists),
                Err(error) => return Err(error),
            },
            put => put?.e_tag,
        };
        fail::fail_point!("cache::after-card");
        let mut seen = self.seen();
        let written = i64::try_from(finished.label.created_millis()).unwrap_or(i64::MAX);
        seen.touched.insert(finished.id, Touched { at: Instant::now(), etag: put.clone() });
        seen.put(name, Known { id: Some(finished.id), mark: Mark { etag: put, written } });
        Ok(())
    }

    async fn touch(&self, entry: &Entry, _now: SystemTime) -> Result<bool, CacheError> {
        self.note_use(entry);
        Ok(true)
    }

    async fn read(&self, entry: &Entry, (from, len): (u64, u64)) -> Result<Option<Pieces>, CacheError> {
        let name = self.0.names.numbered(Kind::Content, &entry.place.repository, entry.id);
        if len == 0 {
            return Ok(Some(futures_util::stream::empty().boxed()));
        }
        let options = GetOptions { range: Some((from..from + len).into()), ..GetOptions::default() };
        let got = match self.quick("read", self.0.s3.get_opts(&name, options)).await {
            Err(CacheError::NotFound(_)) => return Ok(None),
            got => got?,
        };
        Ok(Some(got.into_stream().map_err(std::io::Error::other).boxed()))
    }

    fn remove(&self, place: &Place, id: EntryId) {
        self.seen().going.insert(id);
        self.0.removals.send_modify(|removals| *removals += 1);
        let (bucket, place) = (self.clone(), place.clone());
        self.0.runtime.spawn(async move {
            let _turn = bucket.0.removing.acquire().await;
            let removed = bucket.remove_now(&place, id).await;
            {
                let mut seen = bucket.seen();
                seen.going.remove(&id);
                // If it is still there, the next look shows it again.
                seen.forget(&bucket.0.names.entry(&place), Some(id));
            }
            if let Err(error) = removed {
                tracing::debug!(%error, "an entry could not be removed, and stays for now");
            }
            bucket.0.removals.send_modify(|removals| *removals -= 1);
        });
    }
}
