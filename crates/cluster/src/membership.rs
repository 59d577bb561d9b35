//! This host tells the others again and again that it is there and what it has. Its key in the bucket is gone once it has not for
//! [`HOST_TTL`].

use std::sync::Arc;
use std::time::Duration;

use fireactions_model::ExponentialBackoff;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bucket::{Bucket, Value};
use crate::buckets::{Buckets, HOST_TTL};
use crate::link::{ANSWER, Link};
use crate::member::{Identity, Load, Member};
use crate::settings::Settings;
use crate::trouble::Trouble;

/// How often a host tells.
const EVERY: Duration = Duration::from_secs(2);
/// It tells no oftener.
const GATHER: Duration = Duration::from_millis(50);
/// Pauses after errors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// Pauses while another has the name: it may be this host's server before, whose key goes by itself.
const TAKEN: Duration = Duration::from_secs(2);

/// How a host stands in its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has not told anything yet.
    Joining,
    /// The others know of it.
    Member,
    /// They do not, for people: another has its name.
    Refused(String),
    /// They do not, or not for long, for people: NATS is not there.
    Apart(String),
}

/// How it ends.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// The server stops: the others are to know.
    pub stop: CancellationToken,
    /// Another server of this host takes over: nobody is to notice.
    pub hand_over: CancellationToken,
}

/// A host's membership, as its server keeps it.
pub struct Membership {
    settings: Settings,
    identity: Identity,
    load: Arc<dyn Fn() -> Load + Send + Sync>,
    standing: watch::Sender<Standing>,
    link: watch::Sender<Option<Link>>,
    news: Arc<Notify>,
}

/// Why a round of telling ended.
enum Round {
    Taken(Box<Identity>),
    Trouble(Trouble),
}

impl From<Trouble> for Round {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Membership {
    /// `load` gives what the host has now; it is asked often and must be quick. Nothing is connected before [`run`](Self::run).
    pub fn new(settings: Settings, identity: Identity, load: Arc<dyn Fn() -> Load + Send + Sync>) -> Self {
        let (standing, link) = (watch::Sender::new(Standing::Joining), watch::Sender::default());
        Self { settings, identity, load, standing, link, news: Arc::default() }
    }

    /// The connection, once there is one: it comes back by itself.
    pub fn link(&self) -> watch::Receiver<Option<Link>> {
        self.link.subscribe()
    }

    /// Who this host is.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// To be notified when there is something that the others should know before the next time.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// How it stands, from now on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Tells until the end. Whatever is wrong with NATS, it goes on trying.
    pub async fn run(self, ends: Ends) {
        let over = async {
            tokio::select! {
                () = ends.stop.cancelled() => {}
                () = ends.hand_over.cancelled() => {}
            }
        };
        let mut told = None;
        tokio::select! {
            () = over => {}
            () = self.tell_on(&mut told) => {}
        }
        if ends.hand_over.is_cancelled() {
            return;
        }
        if let Some(hosts) = told {
            let is_own = |member: &Member| member.identity.run == self.identity.run;
            // If NATS is not there, the key goes by itself.
            let _ = timeout(ANSWER, hosts.remove(self.key(), is_own)).await;
        }
    }

    fn key(&self) -> &str {
        self.identity.host.as_str()
    }

    async fn tell_on(&self, told: &mut Option<Bucket>) {
        let mut pauses = ExponentialBackoff::new(PAUSES.0, PAUSES.1);
        let mut link = None;
        loop {
            let round = Box::pin(self.tell(&mut link, told, &mut pauses)).await;
            let pause = match round {
                Round::Taken(other) => {
                    self.stand(Standing::Refused(taken(&self.identity, &other)));
                    ExponentialBackoff::jitter(TAKEN, rand::random())
                }
                Round::Trouble(trouble) => {
                    self.stand(Standing::Apart(trouble.to_string()));
                    pauses.failed(rand::random())
                }
            };
            sleep(pause).await;
        }
    }

    /// Joins, and tells until something is wrong. A connection that was made stays: it comes back by itself.
    async fn tell(
        &self,
        link: &mut Option<Link>,
        told: &mut Option<Bucket>,
        pauses: &mut ExponentialBackoff,
    ) -> Round {
        let link = match link {
            Some(link) => link,
            None => match Link::open(&self.settings).await {
                Ok(open) => {
                    self.link.send_replace(Some(open.clone()));
                    link.insert(open)
                }
                Err(trouble) => return trouble.into(),
            },
        };
        let buckets = match Buckets::open_or_make(link).await {
            Ok(buckets) => buckets,
            Err(trouble) => return trouble.into(),
        };
        *told = Some(buckets.hosts.clone());
        let mut revision = match self.join(&buckets.hosts).await {
            Ok(revision) => revision,
            Err(round) => return round,
        };
        loop {
            self.stand(Standing::Member);
            pauses.succeeded();
            self.next().await;
            revision = match buckets.hosts.update(self.key(), &self.member(), revision).await {
                Ok(Some(revision)) => revision,
                // It went by itself while NATS was away, an answer was lost, or another took it.
                Ok(None) => match self.rejoin(&buckets.hosts).await {
                    Ok(revision) => revision,
                    Err(round) => return round,
                },
                Err(trouble) => return trouble.into(),
            };
        }
    }

    /// Returns when the others are to be told again.
    async fn next(&self) {
        // Much may happen at once.
        sleep(GATHER).await;
        let _ = timeout(ExponentialBackoff::jitter(EVERY, rand::random()), self.news.notified()).await;
    }

    /// Writes this host's key for the first time in this run: a server of this host that was before has no say any more.
    async fn join(&self, hosts: &Bucket) -> Result<u64, Round> {
        self.take(hosts, |other| other.instance == self.identity.instance).await
    }

    /// The same later: another run of this host has taken over, or this run was only cut off.
    async fn rejoin(&self, hosts: &Bucket) -> Result<u64, Round> {
        self.take(hosts, |other| other.run == self.identity.run).await
    }

    async fn take(&self, hosts: &Bucket, may: impl Fn(&Identity) -> bool) -> Result<u64, Round> {
        let member = self.member();
        // Twice: it may go between the two questions.
        for _ in 0..2 {
            if let Some(revision) = hosts.create(self.key(), &member).await? {
                return Ok(revision);
            }
            let Some(Value { value, revision }) = hosts.get::<Member>(self.key()).await? else { continue };
            if !may(&value.identity) {
                return Err(Round::Taken(Box::new(value.identity)));
            }
            if let Some(revision) = hosts.update(self.key(), &member, revision).await? {
                return Ok(revision);
            }
        }
        let doing = format!("to write '{}' of the bucket '{}'", self.key(), hosts.name());
        Err(Trouble::Other { doing, why: "another host writes it at the same time".to_owned() }.into())
    }

    fn member(&self) -> Member {
        Member { identity: self.identity.clone(), load: (self.load)() }
    }

    fn stand(&self, now: Standing) {
        let changed = self.standing.send_if_modified(|before| {
            let changed = *before != now;
            if changed {
                before.clone_from(&now);
            }
            changed
        });
        if !changed {
            return;
        }
        let (cluster, host) = (&self.settings.cluster, &self.identity.host);
        match now {
            Standing::Joining => {}
            Standing::Member => {
                tracing::info!(%cluster, %host, "this host is a member of the cluster");
            }
            Standing::Refused(why) => {
                tracing::error!(%cluster, "this host is no member of the cluster: {why}");
            }
            Standing::Apart(why) => {
                tracing::warn!(%cluster, "the cluster cannot be reached, and this host goes on by itself: {why}");
            }
        }
    }
}

/// Why a name cannot be had.
pub(crate) fn taken(own: &Identity, other: &Identity) -> String {
    let Identity { host, since, version, .. } = other;
    if own.instance == other.instance {
        return format!(
            "another server runs as '{host}' with a copy of this host's state, since {since:.0}: stop one of the two, and give a host \
             that was copied from another a state directory and a cluster.host.name of its own"
        );
    }
    let age = Timestamp::now().duration_since(*since).as_secs().max(0);
    format!(
        "another host is '{host}' already: fireactions {version}, which started {age} s ago; give each host its own cluster.host.name (or \
         host name). If its state was removed, wait {} s",
        HOST_TTL.as_secs()
    )
}
