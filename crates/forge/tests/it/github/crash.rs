//! The server dies at the worst moments.

use fireactions_model::{Forge, ForgeError, MachineId, Offer, PoolSpec, Release, Work};
use fireactions_testkit::github::{AppKey, Fault, JobRequest};

use crate::github::farm::{Farm, SECRET, SOON, Setup, github, perform, pool, until};
use crate::github::queue::door;
use crate::github::{all_well, completed, no_violations};

fn offer(pool: &PoolSpec) -> Offer {
    let machine = MachineId::from_random(rand::random());
    Offer { machine, pool: pool.clone().into(), shape: pool.shape.clone() }
}

/// A server whose machines the test plays itself.
fn played(app: &AppKey, pool: &PoolSpec) -> Setup {
    Setup { machines: false, ..Setup::new(app, vec![pool.clone()]) }
}

/// The machine's work, which is there soon.
async fn acquire(farm: &Farm, machine: &Offer) -> Result<Work, ForgeError> {
    tokio::time::timeout(SOON, farm.forges().acquire(machine)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credential_of_a_machine_that_is_gone_is_never_used_and_its_runner_goes() {
    let (fake, app) = github();
    let pool = pool("p", &["debian"], 1, None);
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    let farm = Farm::start(&fake, &played(&app, &pool)).await;
    let machine = offer(&pool);
    let work = acquire(&farm, &machine).await.unwrap();
    assert_eq!(fake.runners().len(), 1, "it is registered");
    // The server is killed before the program starts, and no machine of this id is there any more.
    let dir = farm.kill().await;
    let farm = Farm::start_in(&fake.url(), &played(&app, &pool), dir).await;
    let again = acquire(&farm, &machine).await;
    assert!(matches!(again, Err(ForgeError::Refused(_))), "{again:?}");
    until("the unused runner to go", || async { fake.runners().is_empty().then_some(()) }).await;
    assert_eq!(farm.store.credential(&work.job).await.unwrap(), None);
    // The job is another machine's.
    let next = offer(&pool);
    let work = acquire(&farm, &next).await.unwrap();
    perform(farm.forges(), &next.machine, &work, farm.dir.path()).await;
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_machine_gets_the_same_credential_however_often_it_asks() {
    let (fake, app) = github();
    let pool = pool("p", &["debian"], 1, None);
    let farm = Farm::start(&fake, &played(&app, &pool)).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    let machine = offer(&pool);
    // The answer to the registration is lost on its way: GitHub has a runner, and nobody its credential.
    fake.fault(Fault::on("POST", "/orgs/acme/actions/runners/generate-jitconfig").lost_answer());
    let first = acquire(&farm, &machine).await.unwrap();
    let second = acquire(&farm, &machine).await.unwrap();
    assert_eq!(first, second);
    assert!(!format!("{first:?}").contains(first.secret_env[0].1.expose()));
    assert_eq!(farm.forges().release(&machine.machine).await, Ok(Release::Bound(first.job.clone())));
    perform(farm.forges(), &machine.machine, &first, farm.dir.path()).await;
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    let third = acquire(&farm, &machine).await;
    assert!(matches!(third, Err(ForgeError::Refused(_))), "a machine gets one job: {third:?}");
    until("no runner to be left", || async { fake.runners().is_empty().then_some(()) }).await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_machine_that_is_released_gets_nothing_and_nothing_is_registered_for_it() {
    let (fake, app) = github();
    let pool = pool("p", &["debian"], 1, None);
    let farm = Farm::start(&fake, &played(&app, &pool)).await;
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
