//! The server dies at the worst moments.

use std::time::Duration;

use fireactions_model::{Forge, ForgeError, MachineId, Offer, Outcome, Release};
use fireactions_testkit::github::{Fault, JobRequest};

use crate::farm::{Farm, SECRET, Setup, github, perform, pool, report, until};
use crate::queue::door;
use crate::{all_well, completed, no_violations};

fn offer(pool: &fireactions_model::PoolSpec) -> Offer {
    let machine = MachineId::from_random(rand::random());
    Offer { machine, pool: pool.clone(), shape: pool.shape.clone() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_was_not_delivered_goes_to_the_same_machine_and_to_no_other() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 2, None)]);
    // The machine here is the test's own.
    setup.pools[0].max_runners = 1;
    let pool = setup.pools[0].clone();
    let machine = offer(&pool);
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    let farm = Farm::start(&fake, &Setup { pools: vec![], ..setup_like(&setup) }).await;
    farm.stop().await;

    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let farm = Farm::start_in(&fake, &setup, dir).await;
    // The server is killed between the registration and the program's start: nobody got the credential.
    let first = loop {
        match tokio::time::timeout(Duration::from_secs(20), farm.forges().acquire(&machine)).await {
            Ok(Ok(work)) => break work,
            // The farm's own machine was first; it has the job, and this test's has none.
            Ok(Err(ForgeError::Unavailable { .. })) => {}
            other => {
                let other = other.map(|work| work.map(|work| work.job));
                assert!(completed(&fake, &[job]).await.len() == 1, "{other:?}");
                farm.stop().await;
                return;
            }
        }
    };
    let dir = farm.kill().await;
    let farm = Farm::start_in(&fake, &setup, dir).await;
    // Its row was ended, because the test's machine has no row of machines; what was registered goes.
    let again = farm.forges().acquire(&machine).await;
    assert!(matches!(again, Err(ForgeError::Refused(_))), "{again:?}");
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    let name = format!("fireactions-{}-{}", farm.store.runner_key("x").await.unwrap(), machine.machine);
    let used = fake.job(job).runner_name().unwrap().to_owned();
    assert_ne!(used, name, "the credential of a machine that is gone is not used: {:?}", first.job);
    until("the unused runner to go", || async { fake.runners().is_empty().then_some(()) }).await;
    farm.stop().await;
}

fn setup_like(setup: &Setup) -> Setup {
    Setup {
        pools: setup.pools.clone(),
        audit: setup.audit,
        surplus: setup.surplus,
        conflict: setup.conflict,
        app: setup.app,
        key: std::sync::Arc::clone(&setup.key),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_machine_gets_the_same_credential_however_often_it_asks() {
    let (fake, app) = github();
    let setup = Setup { pools: vec![], ..Setup::new(&app, vec![]) };
    let pool = pool("p", &["debian"], 1, None);
    let farm = Farm::start(&fake, &Setup { pools: vec![], ..setup_like(&setup) }).await;
    farm.forges().demand(std::slice::from_ref(&pool)).await.unwrap();
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    let machine = offer(&pool);
    // The answer to the registration is lost on its way: GitHub has a runner, and nobody its credential.
    fake.fault(Fault::on("POST", "/orgs/acme/actions/runners/generate-jitconfig").lost_answer());
    let first = farm.forges().acquire(&machine).await.unwrap();
    let second = farm.forges().acquire(&machine).await.unwrap();
    assert_eq!(first, second);
    assert!(!format!("{first:?}").contains(first.secret_env[0].1.expose()));
    assert_eq!(farm.forges().release(&machine.machine).await, Ok(Release::Bound(first.job.clone())));
    perform(farm.forges(), &machine.machine, &first, farm.dir.path()).await;
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    let third = farm.forges().acquire(&machine).await;
    assert!(matches!(third, Err(ForgeError::Refused(_))), "a machine gets one job: {third:?}");
    until("no runner to be left", || async { fake.runners().is_empty().then_some(()) }).await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_machine_that_is_released_gets_nothing_and_nothing_is_registered_for_it() {
    let (fake, app) = github();
    let pool = pool("p", &["debian"], 1, None);
    let farm = Farm::start(&fake, &Setup { pools: vec![], ..Setup::new(&app, vec![]) }).await;
    farm.forges().demand(std::slice::from_ref(&pool)).await.unwrap();
    let machine = offer(&pool);
    let forges = farm.forges().clone();
    let waits = {
        let machine = machine.clone();
        tokio::spawn(async move { forges.acquire(&machine).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(farm.forges().release(&machine.machine).await, Ok(Release::Idle));
    assert!(matches!(waits.await.unwrap(), Err(ForgeError::Refused(_))));
    assert_eq!(fake.all_runners().len(), 0);
    farm.stop().await;
    no_violations(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_with_jobs_under_way_loses_none() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    fake.set_runner_silence(Duration::from_secs(2));
    fake.set_pickup_timeout(Duration::from_secs(2));
    fake.set_session_timeout(Duration::from_secs(1));
    let pools = vec![pool("set", &["debian"], 3, Some("fast")), pool("p", &["debian"], 3, None)];
    let mut setup = Setup::new(&app, pools);
    setup.audit = Duration::from_millis(700);
    setup.surplus = Duration::from_secs(1);
    let mut farm = Farm::start(&fake, &setup).await;
    let jobs: Vec<_> = (0..12)
        .map(|n| {
            let label = if n % 2 == 0 { "fast" } else { "debian" };
            fake.queue_job(JobRequest::new("acme/widgets", &[label], "sleep 0.5").named(&format!("job {n}")))
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(rand::random_range(200..1500))).await;
        let dir = farm.kill().await;
        farm = Farm::start_in(&fake, &setup, dir).await;
    }
    let ended = completed(&fake, &jobs).await;
    for job in &ended {
        // A job whose machine was killed under it failed, once; the others are well.
        assert_eq!(job.runs(), 1, "{job:#?}");
    }
    until("no runner to be left", || async { fake.runners().is_empty().then_some(()) }).await;
    no_violations(&fake);
    let lost = report(Outcome::Cancelled, vec![]);
    assert_eq!(lost.notes.len(), 0);
    farm.stop().await;
    no_violations(&fake);
}
