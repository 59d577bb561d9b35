//! One bucket of JetStream: what of it is used, with a deadline each, and with errors that say what to do.

use std::error::Error;
use std::pin::Pin;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind, RequestErrorKind};
use async_nats::jetstream::kv::{self, CreateErrorKind, Operation, UpdateErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::link::{ANSWER, Link};
use crate::trouble::{Trouble, words};

/// Keys that are read at a time.
const AT_ONCE: usize = 16;

/// A bucket that is there, or was.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    link: Link,
    name: String,
    store: kv::Store,
}

/// A value and the revision that it was written with.
#[derive(Debug, Clone)]
pub(crate) struct Value<T> {
    pub(crate) value: T,
    pub(crate) revision: u64,
}

/// A key has another value, or none.
#[derive(Debug)]
pub(crate) struct Change<T> {
    pub(crate) key: String,
    pub(crate) value: Option<Value<T>>,
}

impl Bucket {
    /// Opens it, if it is there.
    pub(crate) async fn open(link: &Link, name: &str) -> Result<Self, Trouble> {
        let doing = || format!("to open the bucket '{name}'");
        match within(link, Box::pin(link.context.get_key_value(name)), &doing).await? {
            Ok(store) => Ok(Self { link: link.clone(), name: name.to_owned(), store }),
            Err(error) => Err(diagnose(link, name, &doing(), Said::of(&error)).await),
        }
    }

    /// Opens it; makes it if it is not there.
    pub(crate) async fn open_or_make(link: &Link, config: kv::Config) -> Result<Self, Trouble> {
        match Self::open(link, &config.bucket).await {
            Err(Trouble::NoBucket(_)) => Self::make(link, config).await,
            other => other,
        }
    }

    async fn make(link: &Link, config: kv::Config) -> Result<Self, Trouble> {
        let name = config.bucket.clone();
        let doing = || format!("to make the bucket '{name}'");
        // A NATS of several servers keeps it three times; one server alone refuses that.
        for replicas in [3, 1] {
            let config = kv::Config { num_replicas: replicas, ..config.clone() };
            match within(link, Box::pin(link.context.create_key_value(config)), &doing).await? {
                Ok(store) => {
                    tracing::info!(bucket = name, replicas, "made the cluster's bucket in NATS");
                    return Ok(Self { link: link.clone(), name, store });
                }
                Err(error) => {
                    let said = Said::of(&error);
                    match said.code {
                        Some(ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED) if replicas > 1 => {}
                        // Another host was first.
                        Some(ErrorCode::STREAM_NAME_EXIST) => return Self::open(link, &name).await,
                        _ => return Err(diagnose(link, &name, &doing(), said).await),
                    }
                }
            }
        }
        Err(Trouble::Other { doing: doing(), why: "it is kept by no number of servers".to_owned() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// When it was made, in nanoseconds since 1970.
    pub(crate) fn made(&self) -> u64 {
        u64::try_from(self.store.stream.cached_info().created.unix_timestamp_nanos()).unwrap_or_default()
    }

    /// A key's value; nothing where it has none.
    pub(crate) async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Value<T>>, Trouble> {
        let doing = || format!("to read '{key}' of the bucket '{}'", self.name);
        let entry = match within(&self.link, Box::pin(self.store.entry(key)), &doing).await? {
            Ok(entry) => entry.filter(|entry| entry.operation == Operation::Put),
            Err(error) => return Err(diagnose(&self.link, &self.name, &doing(), Said::of(&error)).await),
        };
        let Some(entry) = entry else { return Ok(None) };
        let value = serde_json::from_slice(&entry.value).map_err(|error| Trouble::Odd {
            bucket: self.name.clone(),
            key: key.to_owned(),
            why: error.to_string(),
        })?;
        Ok(Some(Value { value, revision: entry.revision }))
    }

    /// Writes a key that has no value. Gives its revision; nothing where it has one.
    pub(crate) async fn create<T: Serialize>(&self, key: &str, value: &T) -> Result<Option<u64>, Trouble> {
        let doing = || format!("to write '{key}' of the bucket '{}'", self.name);
        match within(&self.link, Box::pin(self.store.create(key, json(value))), &doing).await? {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(diagnose(&self.link, &self.name, &doing(), Said::of(&error)).await),
        }
    }

    /// Writes a key whose value is still that of the revision. Gives its new one; nothing where somebody else has written it, or it is
    /// gone.
    pub(crate) async fn update<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        revision: u64,
    ) -> Result<Option<u64>, Trouble> {
        let doing = || format!("to write '{key}' of the bucket '{}'", self.name);
        match within(&self.link, Box::pin(self.store.update(key, json(value), revision)), &doing).await? {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(diagnose(&self.link, &self.name, &doing(), Said::of(&error)).await),
        }
    }

    /// Removes a key whose value `own` says is this host's. What was on its way to NATS when nobody waited for it any more may come
    /// in between, so it is tried again.
    pub(crate) async fn remove<T: DeserializeOwned>(
        &self,
        key: &str,
        own: impl Fn(&T) -> bool,
    ) -> Result<(), Trouble> {
        for _ in 0..3 {
            let found = self.get::<T>(key).await?.filter(|found| own(&found.value));
            let Some(Value { revision, .. }) = found else { return Ok(()) };
            if self.remove_at(key, revision).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes a key whose value is still that of the revision. False when it is not.
    async fn remove_at(&self, key: &str, revision: u64) -> Result<bool, Trouble> {
        let doing = || format!("to remove '{key}' of the bucket '{}'", self.name);
        match within(&self.link, Box::pin(self.store.delete_expect_revision(key, Some(revision))), &doing)
            .await?
        {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(false),
            Err(error) => Err(diagnose(&self.link, &self.name, &doing(), Said::of(&error)).await),
        }
    }

    /// The values of a key, or of all with `>`: first what they are, then each change. A key that is removed has none then; one that
    /// goes by itself is not told.
    pub(crate) async fn watch<T: DeserializeOwned + 'static>(
        &self,
        key: &str,
    ) -> Result<BoxStream<'static, Result<Change<T>, Trouble>>, Trouble> {
        let doing = format!("to watch '{key}' of the bucket '{}'", self.name);
        let said = doing.clone();
        let watch = match within(&self.link, Box::pin(self.store.watch_with_history(key)), &|| doing.clone())
            .await?
        {
            Ok(watch) => watch,
            Err(error) => return Err(diagnose(&self.link, &self.name, &doing, Said::of(&error)).await),
        };
        let bucket = self.name.clone();
        let changes = watch.map(move |entry| {
            let entry = entry.map_err(|error| Trouble::Other { doing: said.clone(), why: words(&error) })?;
            let read = |value: &[u8]| {
                serde_json::from_slice(value).map_err(|error| Trouble::Odd {
                    bucket: bucket.clone(),
                    key: entry.key.clone(),
                    why: error.to_string(),
                })
            };
            let value = (entry.operation == Operation::Put).then(|| read(&entry.value)).transpose()?;
            let value = value.map(|value| Value { value, revision: entry.revision });
            Ok(Change { key: entry.key, value })
        });
        Ok(changes.boxed())
    }

    /// All keys, in order.
    pub(crate) async fn keys(&self) -> Result<Vec<String>, Trouble> {
        let doing = || format!("to list the bucket '{}'", self.name);
        let listing = async {
            let keys = self.store.keys().await?;
            keys.try_collect::<Vec<String>>().await.map_err(Into::<Box<dyn Error + Send + Sync>>::into)
        };
        let mut keys = match within(&self.link, Box::pin(listing), &doing).await? {
            Ok(keys) => keys,
            Err(error) => return Err(diagnose(&self.link, &self.name, &doing(), Said::of(&*error)).await),
        };
        keys.sort();
        Ok(keys)
    }

    /// All keys with their values, in the keys' order.
    pub(crate) async fn all<T: DeserializeOwned>(&self) -> Result<Vec<(String, T)>, Trouble> {
        let keys = self.keys().await?;
        let read = |key: String| async move {
            Ok::<_, Trouble>(self.get::<T>(&key).await?.map(|found| (key, found.value)))
        };
        // One that is gone meanwhile is gone.
        let found: Vec<Option<(String, T)>> =
            stream::iter(keys).map(read).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}

fn json<T: Serialize>(value: &T) -> Bytes {
    // Plain data with texts as keys has no way to fail.
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// In a box: the client's futures are large, and there are many around them.
async fn within<T>(
    link: &Link,
    asking: Pin<Box<impl Future<Output = T>>>,
    doing: &impl Fn() -> String,
) -> Result<T, Trouble> {
    // Some of it is two questions.
    let deadline = ANSWER * 2;
    tokio::select! {
        answer = timeout(deadline, asking) => answer.map_err(|_| Trouble::Late { doing: doing(), deadline }),
        // Who knows that nobody will answer need not wait for it.
        () = link.lost() => Err(link.unreachable()),
    }
}

/// What an error says.
struct Said {
    /// JetStream's own number, wherever it is in the error.
    code: Option<ErrorCode>,
    /// For people.
    why: String,
}

impl Said {
    fn of(error: &(dyn Error + 'static)) -> Self {
        Self { code: code(error), why: words(error) }
    }
}

fn code(error: &(dyn Error + 'static)) -> Option<ErrorCode> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<jetstream::Error>() {
            return Some(error.error_code());
        }
        if let Some(error) = error.downcast_ref::<jetstream::context::CreateStreamError>()
            && let CreateStreamErrorKind::JetStream(error) = error.kind()
        {
            return Some(error.error_code());
        }
        next = error.source();
    }
    None
}

/// What is behind an error: many a one says only that something failed, so the bucket is asked for.
async fn diagnose(link: &Link, bucket: &str, doing: &str, said: Said) -> Trouble {
    let Said { code, why } = said;
    let other = || Trouble::Other { doing: doing.to_owned(), why: why.clone() };
    if let Some(found) = code.and_then(|code| known(code, bucket, &why)) {
        return found;
    }
    if !link.is_up() {
        return link.unreachable();
    }
    let late = || Trouble::Late { doing: doing.to_owned(), deadline: ANSWER };
    let Ok(asked) = timeout(ANSWER, Box::pin(link.context.get_stream(format!("KV_{bucket}")))).await else {
        return late();
    };
    match asked {
        Ok(_) => other(),
        Err(asked) => match asked.kind() {
            GetStreamErrorKind::JetStream(asked) => {
                known(asked.error_code(), bucket, &asked.to_string()).unwrap_or_else(other)
            }
            _ => match asked
                .source()
                .and_then(|source| source.downcast_ref::<jetstream::context::RequestError>())
            {
                Some(asked) if asked.kind() == RequestErrorKind::NoResponders => {
                    Trouble::NoJetStream(asked.to_string())
                }
                Some(asked) if asked.kind() == RequestErrorKind::TimedOut => late(),
                _ => other(),
            },
        },
    }
}

fn known(code: ErrorCode, bucket: &str, why: &str) -> Option<Trouble> {
    const MAXIMUM_BYTES: ErrorCode = ErrorCode::STREAM_STORE_FAILED;
    match code {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            Some(Trouble::NoJetStream(why.to_owned()))
        }
        ErrorCode::STREAM_NOT_FOUND => Some(Trouble::NoBucket(bucket.to_owned())),
        ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | MAXIMUM_BYTES => Some(Trouble::NoStorage { bucket: bucket.to_owned(), why: why.to_owned() }),
        _ => None,
    }
}
