//! What docs/cluster.md says that a host's user needs is enough.

use std::path::Path;
use std::sync::Arc;

use fireactions_cluster::{
    Desk, Ends, GivenTo, Heard, Lease, LeaseName, LeaseTiming, Link, Load, Membership, Roster, Settings,
    Standing, Trouble, answer, ask, follow, hear, look, spread,
};
use fireactions_model::{ClusterHost, ForgeName, ForgeShare};
use fireactions_testkit::real_nats::NatsSetup;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{PATIENCE, creds, identity, nats, settings, until};

/// The subjects that the page lists for this, with the cluster's buckets.
fn listed(what: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cluster.md");
    let page = std::fs::read_to_string(page).unwrap();
    let buckets =
        ["fireactions-ci", "fireactions-ci-hosts", "fireactions-ci-leases", "fireactions-ci-shares"];
    let lines = page.lines().filter_map(|line| Some(line.strip_prefix(what)?.trim().to_owned()));
    let mut all: Vec<String> = lines
        .flat_map(|line| buckets.map(|bucket| line.replace("BUCKET", bucket)))
        .map(|line| line.replace("CLUSTER", "ci").replace("HOST", "ci"))
        .collect();
    all.sort();
    all.dedup();
    assert!(!all.is_empty(), "{what}");
    all
}

#[tokio::test]
async fn a_host_needs_what_the_page_lists() {
    let setup = NatsSetup { credentials: true, ..NatsSetup::default() };
    let Some(nats) = nats("a_host_needs_what_the_page_lists", setup) else { return };
    let mut limited = settings(&nats, "ci");
    limited.creds = Some(creds(nats.limited_credentials(&listed("publish "), &listed("subscribe "))));
    let membership = Membership::new(limited.clone(), identity("ci", "aaa", "r1"), Arc::new(Load::default));
    let (mut standing, ends) = (membership.standing(), Ends::default());
    let member = tokio::spawn(membership.run(ends.clone()));
    let joined =
        tokio::time::timeout(PATIENCE, standing.wait_for(|now| *now == Standing::Member)).await.is_ok();
    assert!(joined, "{:?}\n{}", *standing.borrow(), nats.log());

    let link = Link::open(&limited).await.unwrap();
    let lease = Lease::new(
        &link,
        LeaseName::forge(&ForgeName::github()),
        identity("ci", "aaa", "r1"),
        LeaseTiming::default(),
    );
    let stop = CancellationToken::new();
    let holder = tokio::spawn(lease.clone().run(stop.clone()));
    until("the lease", async || lease.fence()).await;
    let state = look(&link).await.unwrap_or_else(|trouble| panic!("{trouble}\n{}", nats.log()));
    assert_eq!((state.hosts.len(), state.leaders.len()), (1, 1));
    // The one that has the lease writes shares, and each host follows its own.
    let (forge, host) = (ForgeName::github(), ClusterHost::new("ci").unwrap());
    let mut desk = Desk::open(&link, &forge, lease.fence().unwrap()).await.unwrap();
    let given = GivenTo { instance: "aaa".to_owned(), share: ForgeShare::default() };
    assert!(desk.give(&host, given).await.unwrap());
    let share = watch::Sender::new(None);
    let standing = watch::Sender::new(Standing::Member);
    let following =
        follow(link.clone(), forge, host.clone(), standing.subscribe(), share.clone(), stop.clone());
    let following = tokio::spawn(following);
    share.subscribe().wait_for(Option::is_some).await.unwrap();
    desk.forget(&host).await.unwrap();
    let roster = Roster::default();
    let watching = tokio::spawn(roster.clone().run(link.clone(), stop.clone()));
    roster.hosts().wait_for(|hosts| hosts.contains_key(&host)).await.unwrap();

    // Hosts ask each other.
    let echo = |question: bytes::Bytes| async move { question.to_vec() };
    let answering = tokio::spawn(answer(link.clone(), host.clone(), echo, stop.clone()));
    let answered = until("an answer", async || ask(&link, &host, b"hello".to_vec()).await.ok()).await;
    assert_eq!(&answered[..], b"hello");
    let nobody = ask(&link, &ClusterHost::new("ci-2").unwrap(), Vec::new()).await;
    assert!(matches!(nobody, Err(Trouble::NoHost(_))), "{nobody:?}");

    // What one hears, the others are told, and not itself.
    let other = Settings { host: ClusterHost::new("ci-2").unwrap(), ..limited.clone() };
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let hearing: Vec<_> = [(&link, "itself"), (&Link::open(&other).await.unwrap(), "another")]
        .map(|(link, name)| {
            let told = told.clone();
            let take = move |heard: Heard| {
                let told = told.clone();
                async move { told.send((name, heard)).unwrap() }
            };
            tokio::spawn(hear(link.clone(), "github".to_owned(), take, stop.clone()))
        })
        .into();
    let word = |body: &'static str| Heard {
        headers: vec![("x-event".to_owned(), "a job".to_owned())],
        body: bytes::Bytes::from_static(body.as_bytes()),
    };
    // Who has not subscribed yet does not hear of it.
    let first = until("it to be heard", async || {
        spread(&link, "github", word("first")).await.unwrap();
        heard.try_recv().ok()
    });
    assert_eq!(first.await, ("another", word("first")));
    spread(&link, "github", word("last")).await.unwrap();
    let last = async {
        loop {
            let (name, heard) = heard.recv().await.unwrap();
            assert_eq!(name, "another");
            if heard == word("last") {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, last).await.unwrap();
    let large = Heard { body: vec![0; 2 << 20].into(), headers: Vec::new() };
    let refused = spread(&link, "github", large).await.unwrap_err().to_string();
    assert!(refused.contains("2097152 bytes"), "{refused}");

    stop.cancel();
    for task in [holder, following, watching, answering].into_iter().chain(hearing) {
        task.await.unwrap();
    }
    ends.stop.cancel();
    member.await.unwrap();
    let state = look(&link).await.unwrap();
    assert_eq!((state.hosts.len(), state.leaders.len()), (0, 0));
    assert!(!nats.log().contains(" Violation "), "{}", nats.log());
}
