//! Hosts that share the jobs of a Gitea or a Forgejo, by a real NATS: each job has one runner, whichever host it is on.

use std::collections::BTreeSet;
use std::time::Duration;

use fireactions_testkit::gitea::{FakeGitea, JobId, JobStatus, Scope};
use fireactions_testkit::real_nats::{self, NatsSetup, RealNats};

use super::farm::{Farm, SECRET, Setup, pool, server};
use super::{NEVER, NEWEST, ended, nothing_is_left, push};
use crate::common::member::{Member, leader};
use crate::github::farm::until;
use crate::github::queue::door_of;

/// A host of the cluster.
struct Host {
    farm: Farm,
    member: Member,
}

impl Host {
    async fn start(name: &str, nats: &RealNats, fake: &FakeGitea, setup: &Setup) -> Self {
        let farm = Farm::start(fake, setup).await;
        let instance = farm.store.runner_key("unused").await.unwrap();
        let member = Member::join((name, nats), &farm.forge, &setup.pools, instance, farm.watched());
        Self { farm, member }
    }

    async fn stop(self) {
        self.member.leave().await;
        self.farm.stop().await;
    }
}

fn setup(fake: &FakeGitea, token: &str, max: u32) -> Setup {
    let surplus = Duration::from_secs(2);
    Setup { shared: true, surplus, ..Setup::new(token, vec![pool(fake, "p", &["debian"], max)]) }
}

async fn running(fake: &FakeGitea, jobs: &[JobId]) {
    until("the jobs to run", || async {
        jobs.iter().all(|job| fake.job(*job).status == JobStatus::Running).then_some(())
    })
    .await;
}

/// Rows of each host.
async fn rows(hosts: &[&Host]) -> Vec<usize> {
    let mut counts = Vec::new();
    for host in hosts {
        counts.push(host.farm.rows().await.len());
    }
    counts
}

/// Each of these jobs had a runner, no runner had two, and no more runners were made.
fn one_runner_each(fake: &FakeGitea, jobs: &[JobId]) {
    let runners: BTreeSet<_> = jobs.iter().map(|job| fake.job(*job).runner).collect();
    assert_eq!((runners.len(), fake.runners().len()), (jobs.len(), jobs.len()), "{:#?}", fake.runners());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hosts_share_a_queue_and_no_job_has_two_runners() {
    let Some(program) = real_nats::available("three_hosts_share_a_queue") else { return };
    for release in NEWEST {
        let nats = RealNats::start(&program, NatsSetup::default());
        let (fake, token) = server(release);
        let setup = setup(&fake, &token, 4);
        let mut hosts = Vec::new();
        for name in ["one", "two", "three"] {
            hosts.push(Host::start(name, &nats, &fake, &setup).await);
        }
        let hosts: [Host; 3] = hosts.try_into().ok().unwrap();
        for host in &hosts {
            host.member.joined().await;
        }
        Box::pin(leader(&nats)).await;

        // All of it has room on all of them together, and on no one alone.
        let jobs: Vec<JobId> = (0..12).map(|_| push(&fake, &["debian"], "go")).collect();
        running(&fake, &jobs).await;
        one_runner_each(&fake, &jobs);
        assert_eq!(rows(&hosts.each_ref()).await, [4, 4, 4], "{release:?}");
        // One that there is no room for waits, and is somebody's afterwards.
        let late = push(&fake, &["debian"], "succeed");
        for host in &hosts {
            host.farm.gates.open("go");
        }
        let all: Vec<JobId> = jobs.iter().copied().chain([late]).collect();
        assert!(ended(&fake, &all).await.iter().all(|status| *status == JobStatus::Success), "{release:?}");
        one_runner_each(&fake, &all);
        until("all rows to say how it ended", || async {
            let mut told = 0;
            for host in &hosts {
                let rows = host.farm.rows().await;
                let ends = rows.iter().filter_map(|row| row.remote.as_ref()?.conclusion.as_deref());
                told += ends.filter(|conclusion| *conclusion == "success").count();
            }
            (told == 13).then_some(())
        })
        .await;
        nothing_is_left(&fake).await;
        for host in hosts {
            host.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_that_shares_dies_and_another_goes_on_with_every_job() {
    let Some(program) = real_nats::available("the_host_that_shares_dies") else { return };
    for release in NEWEST {
        let nats = RealNats::start(&program, NatsSetup::default());
        let (fake, token) = server(release);
        // It has no machines: jobs of a host that dies fail with it, as on a host that is alone.
        let first = Host::start("first", &nats, &fake, &setup(&fake, &token, 0)).await;
        assert_eq!(Box::pin(leader(&nats)).await, "first");
        let two = Host::start("two", &nats, &fake, &setup(&fake, &token, 4)).await;
        let three = Host::start("three", &nats, &fake, &setup(&fake, &token, 4)).await;
        let before: Vec<JobId> = (0..4).map(|_| push(&fake, &["debian"], "go")).collect();
        running(&fake, &before).await;

        first.member.die().await;
        let after: Vec<JobId> = (0..4).map(|_| push(&fake, &["debian"], "succeed")).collect();
        ended(&fake, &after).await;
        assert_ne!(Box::pin(leader(&nats)).await, "first");
        for host in [&two, &three] {
            host.farm.gates.open("go");
        }
        let all: Vec<JobId> = before.iter().chain(&after).copied().collect();
        assert!(ended(&fake, &all).await.iter().all(|status| *status == JobStatus::Success), "{release:?}");
        one_runner_each(&fake, &all);
        first.farm.stop().await;
        for host in [two, three] {
            host.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_leads_to_one_host_is_heard_by_the_one_that_shares() {
    let Some(program) = real_nats::available("a_webhook_that_leads_to_one_host") else { return };
    let nats = RealNats::start(&program, NatsSetup::default());
    let (fake, token) = server(NEWEST[0]);
    // Nobody asks again for a list, and the host with the lease has no machine.
    let setup = |max| Setup { poll: NEVER, ..setup(&fake, &token, max) };
    let first = Host::start("first", &nats, &fake, &setup(0)).await;
    assert_eq!(Box::pin(leader(&nats)).await, "first");
    let second = Host::start("second", &nats, &fake, &setup(2)).await;
    second.member.joined().await;
    let asked = "/api/v1/orgs/acme/actions/jobs";
    until("the queue to be read by both", || async { (fake.count("GET", asked) > 1).then_some(()) }).await;

    let door = door_of(second.farm.forge.clone(), Some(second.member.deliveries.clone())).await;
    let owner = Scope::Organization("acme".to_owned());
    fake.webhook(&owner, &door, SECRET);
    let job = push(&fake, &["debian"], "succeed");
    assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success]);
    one_runner_each(&fake, &[job]);
    // What nobody signed, no host is told.
    fake.wait_delivered(Duration::from_secs(60));
    fake.remove_webhooks();
    fake.webhook(&owner, &door, "another secret");
    let heard = first.farm.forge.queued(9).len();
    push(&fake, &["debian"], "succeed");
    fake.wait_delivered(Duration::from_secs(60));
    assert_eq!(fake.delivered().last().unwrap().answer, Ok(401));
    assert_eq!(first.farm.forge.queued(9).len(), heard);
    for host in [first, second] {
        host.stop().await;
    }
}
