//! Who is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use fireactions_cluster::{Ends, Link, Load, Membership, PoolLoad, Standing, look};
use fireactions_model::{MachineState, PoolName, Share};
use fireactions_testkit::real_nats::{NatsSetup, RealNats};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{creds, delete_bucket, identity, nats, settings, until};

struct Host {
    standing: watch::Receiver<Standing>,
    ends: Ends,
    task: JoinHandle<()>,
}

fn load() -> Load {
    let pool = PoolLoad { max: 4, machines: BTreeMap::from([(MachineState::Busy, 3)]), queued: 1, holds_back: false };
    Load {
        drained: false,
        vcpus: Share { used: 6, of: Some(16) },
        memory_mib: Share { used: 512, of: None },
        pools: BTreeMap::from([(PoolName::new("default").unwrap(), pool)]),
        ..Load::default()
    }
}

fn start(nats: &RealNats, host: &str, instance: &str, run: &str) -> Host {
    let membership = Membership::new(settings(nats, host), identity(host, instance, run), Arc::new(load));
    let (standing, ends) = (membership.standing(), Ends::default());
    Host { standing, ends: ends.clone(), task: tokio::spawn(membership.run(ends)) }
}

impl Host {
    async fn is(&mut self, wanted: impl Fn(&Standing) -> bool) -> Standing {
        let found = tokio::time::timeout(crate::PATIENCE, self.standing.wait_for(|now| wanted(now))).await;
        let found = found.map(|found| found.unwrap().clone());
        found.unwrap_or_else(|_| panic!("not in time; it is {:?}", *self.standing.borrow()))
    }

    async fn joined(&mut self) {
        self.is(|now| *now == Standing::Member).await;
    }

    async fn stop(self) {
        self.ends.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn names(link: &Link) -> Vec<String> {
    let state = look(link).await.unwrap();
    state.hosts.iter().map(|member| format!("{} {}", member.identity.host, member.identity.run)).collect()
}

#[tokio::test]
async fn hosts_see_each_other_come_and_go() {
    let Some(nats) = nats("hosts_see_each_other_come_and_go", NatsSetup::default()) else { return };
    let (mut one, mut two) = (start(&nats, "one", "aaa", "r1"), start(&nats, "two", "bbb", "r2"));
    one.joined().await;
    two.joined().await;
    let link = Link::open(&settings(&nats, "looker")).await.unwrap();
    assert_eq!(names(&link).await, ["one r1", "two r2"]);
    let told = &look(&link).await.unwrap().hosts[0];
    assert_eq!((&told.load, told.identity.version.as_str()), (&load(), "1.2.3"));
    assert_eq!(told.load.machines(MachineState::is_busy), 3);

    // A server that stops says so; one that hands over does not, and its successor takes the name at once.
    two.stop().await;
    assert_eq!(names(&link).await, ["one r1"]);
    one.ends.hand_over.cancel();
    one.task.await.unwrap();
    assert_eq!(names(&link).await, ["one r1"]);
    let mut next = start(&nats, "one", "aaa", "r3");
    next.joined().await;
    assert_eq!(names(&link).await, ["one r3"]);
    next.stop().await;
}

#[tokio::test]
async fn of_two_hosts_with_one_name_the_second_is_refused_until_the_first_is_gone() {
    let Some(nats) = nats("of_two_hosts_with_one_name", NatsSetup::default()) else { return };
    let mut first = start(&nats, "ci", "aaa", "r1");
    first.joined().await;
    let mut second = start(&nats, "ci", "bbb", "r2");
    // It is never a member in between.
    let stands = second.is(|now| *now != Standing::Joining).await;
    let Standing::Refused(why) = stands else { panic!("{stands:?}") };
    assert!(
        why.contains("another host is 'ci' already: fireactions 1.2.3") && why.contains("cluster.host.name"),
        "{why}"
    );
    assert_eq!(*first.standing.borrow(), Standing::Member);
    first.stop().await;
    second.joined().await;
    second.stop().await;
}

#[tokio::test]
async fn a_copy_of_a_hosts_state_is_told_from_a_restart() {
    let Some(nats) = nats("a_copy_of_a_hosts_state", NatsSetup::default()) else { return };
    let mut first = start(&nats, "ci", "aaa", "r1");
    first.joined().await;
    // It may be a restart, so it takes over. The other one is there yet, and says what that means.
    let mut copy = start(&nats, "ci", "aaa", "r2");
    copy.joined().await;
    let Standing::Refused(why) = first.is(|now| matches!(now, Standing::Refused(_))).await else {
        unreachable!()
    };
    assert!(why.contains("with a copy of this host's state"), "{why}");
    copy.ends.stop.cancel();
    first.ends.stop.cancel();
}

#[tokio::test]
async fn nats_may_go_and_come_back_and_buckets_may_be_deleted() {
    let Some(mut nats) = nats("nats_may_go_and_come_back", NatsSetup::default()) else { return };
    let mut host = start(&nats, "ci", "aaa", "r1");
    host.joined().await;
    nats.kill();
    let Standing::Apart(why) = host.is(|now| matches!(now, Standing::Apart(_))).await else { unreachable!() };
    assert!(why.contains("the connection is lost"), "{why}");
    nats.resume();
    host.joined().await;

    delete_bucket(&nats, "fireactions-ci-hosts").await;
    let link = Link::open(&settings(&nats, "looker")).await.unwrap();
    let names =
        until("the host to be back", async || look(&link).await.ok().filter(|state| !state.hosts.is_empty()))
            .await;
    assert_eq!(names.hosts.len(), 1);
    host.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for_and_credentials_and_tls_are_used() {
    let setup = NatsSetup { tls: true, credentials: true, ..NatsSetup::default() };
    let Some(mut nats) = nats("a_server_that_is_not_there_yet", setup) else { return };
    nats.kill();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, nats.authority()).unwrap();
    let mut settings = settings(&nats, "ci");
    settings.require_tls = true;
    settings.ca_file = Some(ca);
    settings.creds = Some(creds(nats.credentials()));
    let membership = Membership::new(settings, identity("ci", "aaa", "r1"), Arc::new(load));
    let (standing, ends) = (membership.standing(), Ends::default());
    let mut host = Host { standing, ends: ends.clone(), task: tokio::spawn(membership.run(ends)) };
    let Standing::Apart(why) = host.is(|now| matches!(now, Standing::Apart(_))).await else { unreachable!() };
    assert!(why.contains("cannot be reached"), "{why}");
    nats.resume();
    host.joined().await;
    host.stop().await;
}
