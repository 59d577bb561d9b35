//! Jobs stream through three hosts of one scale set while their NATS and whoever listens die: no job is lost, none runs twice, and
//! nothing is left in the end.

use std::time::Instant;

use fireactions_cluster::Standing;
use fireactions_testkit::github::{FakeGithub, JobId};
use fireactions_testkit::real_nats::{self, NatsSetup, RealNats};

use super::shared::{Host, queue, registered, setup};
use crate::common::member::leader;
use crate::github::farm::{github, pool, until};
use crate::github::{all_well, no_violations};

const NAMES: [&str; 3] = ["one", "two", "three"];
/// Machines of a host.
const MOST: u32 = 6;
/// Jobs that wait or run at a time.
const AT_ONCE: usize = 40;

/// Queues so many jobs, never more than there may be at once, and waits until so many are left.
async fn stream(fake: &FakeGithub, jobs: &mut Vec<JobId>, count: usize, left: usize) {
    let goal = jobs.len() + count;
    while jobs.len() < goal {
        let more = AT_ONCE.saturating_sub(fake.open_jobs().len()).min(goal - jobs.len());
        jobs.extend(queue(fake, more, "true"));
        until_open(fake, AT_ONCE - 1).await;
    }
    until_open(fake, left).await;
}

async fn until_open(fake: &FakeGithub, most: usize) {
    until("jobs to end", || async { (fake.open_jobs().len() <= most).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_and_none_runs_twice_while_nats_and_leaders_die() {
    let Some(program) = real_nats::available("no_job_is_lost_and_none_runs_twice") else { return };
    let part = if std::env::var_os("FIREACTIONS_LONG").is_some() { 100 } else { 20 };
    let mut nats = RealNats::start(&program, NatsSetup::default());
    let (fake, app) = github();
    // A session whose holder is gone is missed for long.
    fake.set_session_timeout(std::time::Duration::from_secs(3600));
    let setup = setup(&app, &pool("fast", &["fast"], MOST, Some("fast")));
    let mut hosts = Vec::new();
    for name in NAMES {
        hosts.push(Host::start(name, &nats, &fake, &setup).await);
    }
    for host in &hosts {
        host.member.joined().await;
    }
    let (mut jobs, began) = (Vec::new(), Instant::now());
    stream(&fake, &mut jobs, part, AT_ONCE / 2).await;

    // All of NATS, for as long as it takes them to notice.
    nats.kill();
    for host in &hosts {
        let apart = |standing: &Standing| matches!(standing, Standing::Apart(_));
        host.member.standing.clone().wait_for(apart).await.unwrap();
    }
    nats.resume();
    stream(&fake, &mut jobs, part, AT_ONCE / 2).await;

    // Whoever listens goes, as if it could not get on, and comes back later.
    let leads = Box::pin(leader(&nats)).await;
    let index = NAMES.iter().position(|name| *name == leads).unwrap();
    let Host { farm, member } = hosts.remove(index);
    member.die().await;
    stream(&fake, &mut jobs, part, AT_ONCE / 2).await;
    let member = Host::join(&leads, &nats, &farm, &setup).await;
    hosts.push(Host { farm, member });

    // NATS again, for a moment.
    nats.kill();
    nats.resume();
    stream(&fake, &mut jobs, part, 0).await;
    println!("{} jobs in {:?}", jobs.len(), began.elapsed());

    all_well(&fake, &jobs);
    let runners: usize = registered(&fake, &hosts.iter().collect::<Vec<_>>()).await.iter().sum();
    println!("{runners} runners");
    // One more for each that stood ready on a host when nobody heard of it.
    let spare = 3 * NAMES.len() * MOST as usize;
    assert!(
        (jobs.len()..=jobs.len() + spare).contains(&runners),
        "{runners} runners for {} jobs",
        jobs.len()
    );
    until("every row to have its end", || async {
        let mut ended = 0;
        for host in &hosts {
            let rows = host.farm.rows().await;
            ended += rows
                .iter()
                .filter_map(|row| row.remote.as_ref()?.conclusion.as_deref())
                .filter(|conclusion| *conclusion == "success")
                .count();
        }
        (ended == jobs.len()).then_some(())
    })
    .await;
    until("GitHub to have no runner left", || async { fake.runners().is_empty().then_some(()) }).await;
    no_violations(&fake);
    for host in hosts {
        host.stop().await;
    }
}
