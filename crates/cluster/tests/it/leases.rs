//! One holder at a time, and a next one soon.

use std::time::{Duration, Instant};

use fireactions_cluster::{Fence, Lease, LeaseName, LeaseTiming, Link, look};
use fireactions_model::ForgeName;
use fireactions_testkit::real_nats::{NatsSetup, RealNats};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{delete_bucket, identity, nats, settings, until};

/// A lost leader is replaced within this.
const FAILOVER: Duration = Duration::from_secs(5);

struct Candidate {
    lease: Lease,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn candidate(nats: &RealNats, host: &str) -> Candidate {
    let link = Link::open(&settings(nats, host)).await.unwrap();
    let identity = identity(host, host, host);
    let lease = Lease::new(&link, LeaseName::forge(&ForgeName::github()), identity, LeaseTiming::default());
    let stop = CancellationToken::new();
    let task = tokio::spawn(lease.clone().run(stop.clone()));
    Candidate { lease, stop, task }
}

async fn held(candidates: &[&Candidate]) -> (usize, Fence) {
    until("a holder", async || {
        let fences: Vec<_> = candidates.iter().map(|candidate| candidate.lease.fence()).collect();
        assert!(fences.iter().flatten().count() <= 1, "two hold it: {fences:?}");
        fences.iter().enumerate().find_map(|(n, fence)| Some((n, (*fence)?)))
    })
    .await
}

#[tokio::test]
async fn a_holder_that_dies_is_replaced_within_seconds_and_is_fenced() {
    let Some(nats) = nats("a_holder_that_dies_is_replaced", NatsSetup::default()) else { return };
    let (one, two) = (candidate(&nats, "one").await, candidate(&nats, "two").await);
    let (first, fence) = held(&[&one, &two]).await;
    let (dead, other) = if first == 0 { (one, two) } else { (two, one) };
    until("the other to hear of it", async || other.lease.holder()).await;
    let link = Link::open(&settings(&nats, "looker")).await.unwrap();
    let leaders = look(&link).await.unwrap().leaders;
    assert_eq!((leaders.len(), leaders[0].lease.as_str()), (1, "forge.github"));
    assert_eq!(Some(&leaders[0].host), other.lease.holder().map(|holder| holder.host).as_ref());

    // Its task ends where it is, as with a process that is killed: it renews nothing and says nothing.
    dead.task.abort();
    let begin = Instant::now();
    let next = until("the other to hold it", async || {
        let (before, next) = (dead.lease.fence(), other.lease.fence());
        assert!(before.is_none() || next.is_none(), "two hold it: {before:?}, {next:?}");
        next
    })
    .await;
    let took = begin.elapsed();
    println!("another held the lease after {took:?}");
    assert!(next > fence && took < FAILOVER, "{next:?} after {fence:?}, in {took:?}");
    assert_eq!(dead.lease.fence(), None);
    other.stop.cancel();
    other.task.await.unwrap();
    assert_eq!(look(&link).await.unwrap().leaders, [], "who stops lets go");
}

#[tokio::test]
async fn a_holder_without_nats_lets_go_by_its_own_clock_and_fences_only_grow() {
    let Some(mut nats) = nats("a_holder_without_nats_lets_go", NatsSetup::default()) else { return };
    let one = candidate(&nats, "one").await;
    let (_, first) = held(&[&one]).await;
    nats.kill();
    let begin = Instant::now();
    until("it to let go", async || one.lease.fence().is_none().then_some(())).await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    nats.resume();
    let (_, second) = held(&[&one]).await;
    assert!(second > first, "{second:?} after {first:?}");

    // Revisions of a bucket that is made anew begin at one.
    let mut changes = one.lease.changes();
    changes.mark_unchanged();
    delete_bucket(&nats, "fireactions-ci-leases").await;
    tokio::time::timeout(crate::PATIENCE, changes.wait_for(|held| !held)).await.unwrap().unwrap();
    let (_, third) = held(&[&one]).await;
    assert!(third > second, "{third:?} after {second:?}");
    one.stop.cancel();
    one.task.await.unwrap();
}
