//! What the host that listens to a forge tells the others, and leaves to the next that does.
//!
//! ```text
//!  FORGE.HOST   the host's share, with the fence of who wrote it
//!  FORGE        what the one that listens holds at the forge
//! ```
//!
//! Each value is written over the one that was read before, by its revision, and never over one with a larger fence. So of two that
//! take themselves for the one that listens, the older finds out at its next word.

use std::collections::BTreeMap;
use std::time::Duration;

use fireactions_model::{ClusterHost, ExponentialBackoff, ForgeName, ForgeShare, PoolName};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bucket::{Bucket, Value};
use crate::buckets::Buckets;
use crate::lease::Fence;
use crate::link::Link;
use crate::membership::Standing;
use crate::trouble::Trouble;

/// How often a value is read whether or not it was said that it changed.
const READ: Duration = Duration::from_secs(5);
/// Pauses after errors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Tries to write over a value that somebody else writes.
const TRIES: u32 = 3;

/// A host's share, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    fence: Fence,
    /// Whose names its runners have.
    instance: String,
    share: ForgeShare,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    fence: Fence,
    held: BTreeMap<PoolName, String>,
}

/// A value with a fence.
trait Fenced {
    fn fence(&self) -> Fence;
}

impl Fenced for Given {
    fn fence(&self) -> Fence {
        self.fence
    }
}

impl Fenced for Held {
    fn fence(&self) -> Fence {
        self.fence
    }
}

/// A host, and what it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenTo {
    /// Its state's own key.
    pub instance: String,
    /// What it was given.
    pub share: ForgeShare,
}

/// A share with its revision: of two shares, the later has the larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revised<T> {
    /// It.
    pub share: T,
    /// Its revision.
    pub revision: u64,
}

/// Where the host that listens to a forge writes.
#[derive(Debug)]
pub struct Desk {
    bucket: Bucket,
    forge: ForgeName,
    fence: Fence,
    given: BTreeMap<ClusterHost, Revised<GivenTo>>,
    held: (BTreeMap<PoolName, String>, Option<u64>),
}

impl Desk {
    /// For the holder of the forge's lease, with what is there already.
    ///
    /// # Errors
    /// When NATS is not as the cluster needs it.
    pub async fn open(link: &Link, forge: &ForgeName, fence: Fence) -> Result<Self, Trouble> {
        let bucket = Buckets::open_or_make(link).await?.shares;
        let mut desk = Self {
            held: (BTreeMap::new(), None),
            given: BTreeMap::new(),
            bucket,
            forge: forge.clone(),
            fence,
        };
        for key in desk.bucket.keys().await? {
            let Some(host) = desk.host_of(&key) else { continue };
            if let Some(Value { value, revision }) = desk.bucket.get::<Given>(&key).await? {
                let share = GivenTo { instance: value.instance, share: value.share };
                desk.given.insert(host, Revised { share, revision });
            }
        }
        if let Some(Value { value, revision }) = desk.bucket.get::<Held>(forge.as_str()).await? {
            desk.held = (value.held, Some(revision));
        }
        Ok(desk)
    }

    fn host_of(&self, key: &str) -> Option<ClusterHost> {
        ClusterHost::new(key.strip_prefix(self.forge.as_str())?.strip_prefix('.')?).ok()
    }

    /// What each host was given last.
    pub const fn given(&self) -> &BTreeMap<ClusterHost, Revised<GivenTo>> {
        &self.given
    }

    /// What the one that listens holds at the forge, as it was written last.
    pub const fn held(&self) -> &BTreeMap<PoolName, String> {
        &self.held.0
    }

    /// Gives a host its share. False when another host listens now.
    ///
    /// # Errors
    /// When it cannot be written, or it is not known whether it was.
    pub async fn give(&mut self, host: &ClusterHost, given: GivenTo) -> Result<bool, Trouble> {
        let before = self.given.get(host);
        if before.is_some_and(|before| before.share == given) {
            return Ok(true);
        }
        let revision = before.map(|before| before.revision);
        let value = Given { fence: self.fence, instance: given.instance.clone(), share: given.share.clone() };
        let written = self.write(&key(&self.forge, host), &value, revision).await?;
        if let Some(revision) = written {
            self.given.insert(host.clone(), Revised { share: given, revision });
        }
        Ok(written.is_some())
    }

    /// A host is gone, and nothing is to be told to it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn forget(&mut self, host: &ClusterHost) -> Result<(), Trouble> {
        let fence = self.fence;
        self.bucket.remove::<Given>(&key(&self.forge, host), |given| given.fence <= fence).await?;
        self.given.remove(host);
        Ok(())
    }

    /// Leaves what this host holds at the forge to the next that listens. False when that is another one already.
    ///
    /// # Errors
    /// When it cannot be written, or it is not known whether it was.
    pub async fn hold(&mut self, held: BTreeMap<PoolName, String>) -> Result<bool, Trouble> {
        if self.held.0 == held {
            return Ok(true);
        }
        let value = Held { fence: self.fence, held };
        let key = self.forge.as_str().to_owned();
        let written = self.write(&key, &value, self.held.1).await?;
        if let Some(revision) = written {
            self.held = (value.held, Some(revision));
        }
        Ok(written.is_some())
    }

    /// Writes over what was read, or what somebody with a smaller fence wrote meanwhile. Nothing when another host listens now.
    async fn write<T: Serialize + DeserializeOwned + Fenced>(
        &self,
        key: &str,
        value: &T,
        mut revision: Option<u64>,
    ) -> Result<Option<u64>, Trouble> {
        for _ in 0..TRIES {
            let written = match revision {
                Some(revision) => self.bucket.update(key, value, revision).await?,
                None => self.bucket.create(key, value).await?,
            };
            if written.is_some() {
                return Ok(written);
            }
            let found = self.bucket.get::<T>(key).await?;
            if found.as_ref().is_some_and(|found| found.value.fence() > self.fence) {
                return Ok(None);
            }
            revision = found.map(|found| found.revision);
        }
        let doing = format!("to write '{key}' of the bucket '{}'", self.bucket.name());
        Err(Trouble::Other { doing, why: "another host writes it at the same time".to_owned() })
    }
}

fn key(forge: &ForgeName, host: &ClusterHost) -> String {
    format!("{forge}.{host}")
}

/// This host's share of a forge's jobs, until `stop`: whenever it changes, and now and then. Nothing while the others do not know of this
/// host: another may have its jobs, and what it was given before is read anew when they do.
pub async fn follow(
    link: Link,
    forge: ForgeName,
    host: ClusterHost,
    mut standing: watch::Receiver<Standing>,
    share: watch::Sender<Option<Revised<ForgeShare>>>,
    stop: CancellationToken,
) {
    let mut pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
    let key = key(&forge, &host);
    let mut last = None;
    let following = async {
        loop {
            if standing.wait_for(|standing| *standing == Standing::Member).await.is_err() {
                return;
            }
            let ended = tokio::select! {
                trouble = Box::pin(follow_once(&link, &key, &share, &mut last, &mut pauses)) => Some(trouble),
                _ = standing.wait_for(|standing| *standing != Standing::Member) => None,
            };
            match ended {
                Some(trouble) => {
                    tracing::debug!(%trouble, %forge, "this host's share cannot be followed; trying again");
                    sleep(pauses.failed(rand::random())).await;
                }
                None => drop(share.send_replace(None)),
            }
        }
    };
    let _ = stop.run_until_cancelled(following).await;
}

async fn follow_once(
    link: &Link,
    key: &str,
    share: &watch::Sender<Option<Revised<ForgeShare>>>,
    last: &mut Option<(Fence, u64)>,
    pauses: &mut ExponentialBackoff,
) -> Trouble {
    let opened = async {
        let bucket = Buckets::open_or_make(link).await?.shares;
        let changes = bucket.watch::<Given>(key).await?;
        Ok((bucket, changes))
    };
    let (bucket, mut changes) = match Box::pin(opened).await {
        Ok(opened) => opened,
        Err(trouble) => return trouble,
    };
    pauses.succeeded();
    loop {
        let given = tokio::select! {
            change = changes.next() => match change {
                Some(Ok(change)) => change.value,
                Some(Err(trouble)) => return trouble,
                None => return link.unreachable(),
            },
            () = sleep(READ) => match bucket.get::<Given>(key).await {
                Ok(found) => found,
                Err(trouble) => return trouble,
            },
        };
        // What was read may be ahead of what was said. A bucket that was made anew has younger fences.
        if let Some(Value { value: Given { fence, share: own, .. }, revision }) = given
            && last.is_none_or(|last| (fence, revision) >= last)
        {
            *last = Some((fence, revision));
            let own = Some(Revised { share: own, revision });
            share.send_if_modified(|before| {
                let changed = *before != own;
                *before = own;
                changed
            });
        }
    }
}
