//! Hosts that share one scale set, by a real NATS: each job has one runner, whichever host it is on and whichever host dies.

use std::time::Duration;

use fireactions_cluster::Standing;
use fireactions_model::PoolSpec;
use fireactions_testkit::github::{AppKey, FakeGithub, JobId, JobRequest};
use fireactions_testkit::real_nats::{self, NatsSetup, RealNats};

use crate::common::member::{Member, leader};
use crate::github::farm::{Farm, Place, Setup, gate, github, open_gate, pool, until};
use crate::github::{all_well, completed, no_violations};

/// A host of the cluster.
pub(super) struct Host {
    pub(super) farm: Farm,
    pub(super) member: Member,
}

pub(super) fn setup(app: &AppKey, pool: &PoolSpec) -> Setup {
    Setup { shared: true, surplus: Duration::from_secs(2), ..Setup::new(app, vec![pool.clone()]) }
}

impl Host {
    pub(super) async fn start(name: &'static str, nats: &RealNats, fake: &FakeGithub, setup: &Setup) -> Self {
        Self::start_in(name, nats, fake, setup, Place::new()).await
    }

    async fn start_in(
        name: &'static str,
        nats: &RealNats,
        fake: &FakeGithub,
        setup: &Setup,
        place: Place,
    ) -> Self {
        let farm = Farm::start_in(&fake.url(), setup, place).await;
        let member = Self::join(name, nats, &farm, setup).await;
        Self { farm, member }
    }

    /// Its part in the cluster alone.
    pub(super) async fn join(name: &str, nats: &RealNats, farm: &Farm, setup: &Setup) -> Member {
        let instance = farm.store.runner_key("unused").await.unwrap();
        Member::join((name, nats), &farm.github, &setup.pools, instance, farm.watched())
    }

    pub(super) async fn stop(self) {
        self.member.leave().await;
        self.farm.stop().await;
    }

    /// As a crash ends it, with its machines.
    async fn kill(self) -> Place {
        self.member.die().await;
        self.farm.kill().await
    }
}

pub(super) fn queue(fake: &FakeGithub, count: usize, script: &str) -> Vec<JobId> {
    (0..count).map(|_| fake.queue_job(JobRequest::new("acme/widgets", &["fast"], script))).collect()
}

/// Runners of each host that were ever registered, by its key.
pub(super) async fn registered(fake: &FakeGithub, hosts: &[&Host]) -> Vec<usize> {
    let mut counts = Vec::new();
    for host in hosts {
        let key = host.farm.store.runner_key("unused").await.unwrap();
        let all = fake.all_runners();
        counts.push(all.iter().filter(|runner| runner.name.contains(&format!("-{key}-"))).count());
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hosts_share_a_scale_set_and_no_job_has_two_runners() {
    let Some(program) = real_nats::available("three_hosts_share_a_scale_set") else { return };
    let nats = RealNats::start(&program, NatsSetup::default());
    let (fake, app) = github();
    let pool = pool("fast", &["fast"], 4, Some("fast"));
    let setup = setup(&app, &pool);
    let one = Host::start("one", &nats, &fake, &setup).await;
    let two = Host::start("two", &nats, &fake, &setup).await;
    let three = Host::start("three", &nats, &fake, &setup).await;
    let hosts = [&one, &two, &three];
    for host in hosts {
        host.member.joined().await;
    }
    Box::pin(leader(&nats)).await;

    // All of it has room on all of them together, and on no one alone.
    let jobs = queue(&fake, 12, "sleep 0.3");
    completed(&fake, &jobs).await;
    all_well(&fake, &jobs);
    let counts = registered(&fake, &hosts).await;
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(counts.iter().sum::<usize>() <= 12, "no job had two runners: {counts:?}");
    // What became of each job is in the rows of the host that ran it, by GitHub's own word.
    until("the words of all jobs to be written down", || async {
        let mut ended = 0;
        for host in hosts {
            let rows = host.farm.rows().await;
            ended += rows
                .iter()
                .filter_map(|row| row.remote.as_ref())
                .filter(|remote| remote.conclusion.as_deref() == Some("success") && remote.run_id.is_some())
                .count();
        }
        (ended == 12).then_some(())
    })
    .await;
    no_violations(&fake);
    for host in [one, two, three] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_that_listens_dies_and_another_goes_on_with_every_job() {
    let Some(program) = real_nats::available("the_host_that_listens_dies") else { return };
    let nats = RealNats::start(&program, NatsSetup::default());
    let (fake, app) = github();
    // A session whose holder is gone is missed for long.
    fake.set_session_timeout(Duration::from_secs(3600));
    let pool = pool("fast", &["fast"], 3, Some("fast"));
    let (setup, mut none) = (setup(&app, &pool), setup(&app, &pool));
    none.pools[0].max_runners = 0;
    // It listens, and has no machines: GitHub gives up jobs of a host that dies by itself.
    let first = Host::start("first", &nats, &fake, &none).await;
    assert_eq!(Box::pin(leader(&nats)).await, "first");
    let two = Host::start("two", &nats, &fake, &setup).await;
    let three = Host::start("three", &nats, &fake, &setup).await;
    let before = queue(&fake, 4, &gate(&two.farm, "go"));
    until("jobs to run", || async {
        let running = before.iter().filter(|id| fake.job(**id).runner_name().is_some()).count();
        (running == 4).then_some(())
    })
    .await;

    let left = first.kill().await;
    let after = queue(&fake, 6, "sleep 0.2");
    open_gate(&two.farm, "go");
    let all: Vec<JobId> = before.iter().chain(&after).copied().collect();
    completed(&fake, &all).await;
    all_well(&fake, &all);
    assert_ne!(Box::pin(leader(&nats)).await, "first");
    // What had ended while nobody listened is in the rows all the same, by GitHub's own word.
    until("the words of all jobs to be written down", || async {
        let mut ended = 0;
        for host in [&two, &three] {
            let rows = host.farm.rows().await;
            let told = rows.iter().filter_map(|row| row.remote.as_ref()?.conclusion.as_deref());
            ended += told.filter(|conclusion| *conclusion == "success").count();
        }
        (ended == 10).then_some(())
    })
    .await;
    let counts = registered(&fake, &[&two, &three]).await;
    assert!(counts.iter().sum::<usize>() <= 10, "no job had two runners: {counts:?}");

    // It comes back, and is one of them.
    let first = Host::start_in("first", &nats, &fake, &setup, left).await;
    let more = queue(&fake, 9, "sleep 0.3");
    completed(&fake, &more).await;
    all_well(&fake, &more);
    let counts = registered(&fake, &[&first]).await;
    assert!(counts[0] > 0, "it has its share again");
    no_violations(&fake);
    for host in [first, two, three] {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_without_nats_end_what_they_have_and_begin_nothing() {
    let Some(program) = real_nats::available("hosts_without_nats") else { return };
    let mut nats = RealNats::start(&program, NatsSetup::default());
    let (fake, app) = github();
    let pool = pool("fast", &["fast"], 3, Some("fast"));
    let setup = setup(&app, &pool);
    let one = Host::start("one", &nats, &fake, &setup).await;
    let two = Host::start("two", &nats, &fake, &setup).await;
    let running = queue(&fake, 4, &gate(&one.farm, "go"));
    until("jobs to run", || async {
        let busy = running.iter().filter(|id| fake.job(**id).runner_name().is_some()).count();
        (busy == 4).then_some(())
    })
    .await;

    nats.kill();
    for host in [&one, &two] {
        let apart = |standing: &Standing| matches!(standing, Standing::Apart(_));
        host.member.standing.clone().wait_for(apart).await.unwrap();
    }
    let before = fake.all_runners().len();
    let waiting = queue(&fake, 3, "true");
    open_gate(&one.farm, "go");
    completed(&fake, &running).await;
    assert_eq!(fake.all_runners().len(), before, "and none is begun");

    nats.resume();
    let all: Vec<JobId> = running.iter().chain(&waiting).copied().collect();
    completed(&fake, &all).await;
    all_well(&fake, &all);
    no_violations(&fake);
    for host in [one, two] {
        host.stop().await;
    }
}
