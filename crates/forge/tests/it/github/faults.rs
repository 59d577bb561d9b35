//! What GitHub and the way to it may do to a client.

use std::time::Duration;

use fireactions_model::PoolName;
use fireactions_testkit::github::{Fault, JobRequest};
use jiff::SignedDuration;

use crate::common::log::Log;
use crate::github::farm::{Farm, SECRET, Setup, gate, github, open_gate, pool, until};
use crate::github::queue::door;
use crate::github::{all_well, completed, no_violations};

fn job(n: usize) -> JobRequest {
    JobRequest::new("acme/widgets", &["fast"], "true").named(&format!("job {n}"))
}

fn one_set() -> Vec<fireactions_model::PoolSpec> {
    vec![pool("set", &["debian"], 4, Some("fast"))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_expire_or_are_revoked_under_way_are_made_anew() {
    let (fake, app) = github();
    let farm = Farm::start(&fake, &Setup::new(&app, one_set())).await;
    let first = fake.queue_job(job(1));
    completed(&fake, &[first]).await;
    let set = fake.scale_sets()[0].0;
    // In the middle of a poll.
    fake.expire_queue_token(set);
    fake.expire_admin_tokens();
    fake.revoke_tokens();
    let second = fake.queue_job(job(2));
    completed(&fake, &[second]).await;
    all_well(&fake, &[first, second]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_is_opened_again() {
    let (fake, app) = github();
    let farm = Farm::start(&fake, &Setup::new(&app, one_set())).await;
    let first = fake.queue_job(job(1));
    completed(&fake, &[first]).await;
    fake.drop_session(fake.scale_sets()[0].0);
    let second = fake.queue_job(job(2));
    completed(&fake, &[second]).await;
    all_well(&fake, &[first, second]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_with_one_scale_set_the_second_waits_and_says_so() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    let first = Farm::start(&fake, &Setup::new(&app, one_set())).await;
    let held =
        until("the first session", || async { fake.session_owner(fake.scale_sets().first()?.0) }).await;
    let second = Farm::start(&fake, &Setup::new(&app, one_set())).await;
    let name = PoolName::new("set").unwrap();
    let problem = until("the second to say so", || async { second.github.problem(&name) }).await;
    assert!(problem.contains("another session holds"), "{problem}");
    let one = fake.queue_job(job(1));
    completed(&fake, &[one]).await;
    assert_eq!(second.rows().await, []);
    first.stop().await;
    let next = until("the second's session", || async {
        fake.session_owner(fake.scale_sets()[0].0).filter(|owner| *owner != held)
    })
    .await;
    assert_ne!(held, next);
    until("it to be well", || async { second.github.problem(&name).is_none().then_some(()) }).await;
    let two = fake.queue_job(job(2));
    completed(&fake, &[two]).await;
    all_well(&fake, &[one, two]);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secondary_limit_is_waited_out() {
    let (fake, app) = github();
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("p", &["debian"], 1, None)])).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let limit = Fault::on("POST", "/orgs/acme/actions/runners/generate-jitconfig");
    fake.fault(limit.secondary_limit(Duration::from_secs(2)));
    let began = std::time::Instant::now();
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    completed(&fake, &[job]).await;
    assert!(began.elapsed() >= Duration::from_secs(2), "it was asked again too early");
    assert_eq!(
        fake.calls().of("POST /orgs/{org}/actions/runners/generate-jitconfig"),
        2,
        "{:?}",
        fake.calls()
    );
    all_well(&fake, &[job]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_and_silence_cost_time_and_no_job() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    // A session whose opening was not heard of is nobody's, and is missed after a while.
    fake.set_session_timeout(Duration::from_secs(2));
    let pools = vec![pool("set", &["debian"], 3, Some("fast")), pool("p", &["plain"], 3, None)];
    let mut setup = Setup::new(&app, pools);
    setup.audit = Duration::from_secs(1);
    setup.surplus = Duration::from_secs(2);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let first = fake.queue_job(job(1));
    completed(&fake, &[first]).await;
    // Every third request of any kind fails, one way or another.
    for n in 0..20 {
        let fault = Fault::on("*", "/**").after(2);
        fake.fault(match n % 3 {
            0 => fault.status(502, "Bad Gateway"),
            1 => fault.reset(),
            _ => fault.lost_answer(),
        });
    }
    let mut jobs = vec![first];
    jobs.extend((2..8).map(|n| fake.queue_job(job(n))));
    jobs.extend((8..12).map(|n| {
        fake.queue_job(JobRequest::new("acme/widgets", &["plain"], "true").named(&format!("job {n}")))
    }));
    // And then nothing answers at all.
    fake.down(Duration::from_secs(2));
    completed(&fake, &jobs).await;
    all_well(&fake, &jobs);
    // The storm lasts as long as anything is asked.
    until("the storm to be over", || async { (fake.faults_left() == 0).then_some(()) }).await;
    until("no runner to be left", || async { fake.runners().is_empty().then_some(()) }).await;
    farm.stop().await;
    no_violations(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_rotated_is_read_again() {
    let (fake, app) = github();
    let setup = Setup::new(&app, one_set());
    let farm = Farm::start(&fake, &setup).await;
    let first = fake.queue_job(job(1));
    completed(&fake, &[first]).await;
    let fresh = fake.rotate_key(app.id);
    *setup.key.lock().unwrap() = fresh.pkcs8;
    fake.revoke_tokens();
    fake.expire_admin_tokens();
    fake.drop_session(fake.scale_sets()[0].0);
    let second = fake.queue_job(job(2));
    completed(&fake, &[second]).await;
    all_well(&fake, &[first, second]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_five_minutes_off_is_no_obstacle() {
    for minutes in [-5, 5] {
        let (fake, app) = github();
        fake.set_clock_offset(SignedDuration::from_mins(minutes));
        let farm = Farm::start(&fake, &Setup::new(&app, one_set())).await;
        let first = fake.queue_job(job(1));
        completed(&fake, &[first]).await;
        all_well(&fake, &[first]);
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_that_was_renamed_is_said_to_be() {
    let (fake, app) = github();
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("p", &["debian"], 1, None)])).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let first = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    completed(&fake, &[first]).await;
    all_well(&fake, &[first]);
    farm.stop().await;
    fake.rename_organization("acme", "emca");
    let pools = vec![pool("set", &["debian"], 1, Some("fast")), pool("p", &["debian"], 1, None)];
    let farm = Farm::start(&fake, &Setup::new(&app, pools)).await;
    for name in ["set", "p"] {
        let name = PoolName::new(name).unwrap();
        let problem = until("it to be told", || async { farm.github.problem(&name) }).await;
        assert!(problem.contains("acme"), "{problem}");
        println!("{problem}");
    }
    farm.stop().await;
    no_violations(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_for_good_is_told_at_the_pool() {
    let (fake, app) = github();
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("p", &["debian"], 1, None)])).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let refuse = Fault::on("POST", "/orgs/acme/actions/runners/generate-jitconfig");
    fake.fault(refuse.times(2).status(403, "Resource not accessible by integration"));
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    let name = PoolName::new("p").unwrap();
    let problem = until("the pool to say so", || async { farm.github.problem(&name) }).await;
    assert!(problem.contains("Resource not accessible by integration"), "{problem}");
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    assert_eq!(farm.github.problem(&name), None);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_requests_a_minute_slows_a_rush_of_jobs_and_loses_none() {
    let (fake, app) = github();
    // Six registrations, and no more for a while.
    fake.set_secondary_limit(30, Duration::from_secs(3));
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 4, None)]);
    setup.surplus = Duration::from_secs(1);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let jobs: Vec<_> = (0..10)
        .map(|n| fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true").named(&n.to_string())))
        .collect();
    completed(&fake, &jobs).await;
    all_well(&fake, &jobs);
    assert!(fake.refused_as_too_fast() > 0, "ten registrations are fifty points");
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_acknowledgement_is_lost_comes_again_with_old_numbers_and_makes_no_runner() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    let farm = Farm::start(&fake, &Setup::new(&app, one_set())).await;
    // The offer, the assignment, the beginning: each is told twice, the second time in another session.
    fake.fault(Fault::on("DELETE", "/_actions/_message/*/*").times(3).reset());
    let jobs = [job(1), job(2)].map(|job| fake.queue_job(job));
    completed(&fake, &jobs).await;
    all_well(&fake, &jobs);
    until("the last word to be heard", || async { (fake.faults_left() == 0).then_some(()) }).await;
    until("the machines to end", || async { (farm.machines() == 0).then_some(()) }).await;
    assert_eq!(fake.all_runners().len(), 2, "{:#?}", fake.all_runners());
    farm.stop().await;
    no_violations(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_scale_set_hides_no_job_that_waits() {
    let (fake, app) = github();
    let pools = vec![pool("set", &["debian"], 1, Some("fast")), pool("p", &["plain"], 1, None)];
    let mut setup = Setup::new(&app, pools);
    setup.audit = Duration::from_millis(300);
    let farm = Farm::start(&fake, &setup).await;
    until("the session", || async { fake.session_owner(fake.scale_sets().first()?.0) }).await;
    for path in ["/_actions/_apis/runtime/runnerscalesets", "/_actions/_apis/runtime/runnerscalesets/*"] {
        fake.fault(Fault::on("GET", path).times(1_000_000).status(403, "no"));
    }
    let set = PoolName::new("set").unwrap();
    until("the set's trouble to be told", || async { farm.github.problem(&set) }).await;
    // No webhook tells of it.
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["plain"], "true"));
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    fake.clear_faults();
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_cannot_be_removed_hides_no_job_that_waits() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("p", &["plain"], 1, None)]);
    setup.audit = Duration::from_millis(300);
    let farm = Farm::start(&fake, &setup).await;
    let key = farm.store.runner_key("other").await.unwrap();
    let ghost = format!("fireactions-{key}-m0123456789");
    let scope = fireactions_testkit::github::Scope::Organization("acme".into());
    fake.jit_config(&scope, &ghost, &["debian"]);
    let id = fake.runners().into_iter().find(|runner| runner.name == ghost).unwrap().id;
    let its = format!("/orgs/acme/actions/runners/{id}");
    fake.fault(Fault::on("DELETE", &its).times(1_000_000).status(403, "no"));
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["plain"], "true"));
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_assigned_is_forgotten_by_a_server_that_lost_its_session_to_another() {
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    let mut setup = Setup::new(&app, vec![pool("set", &["debian"], 1, Some("fast"))]);
    setup.machines = false;
    let first = Farm::start(&fake, &setup).await;
    let held =
        until("the first session", || async { fake.session_owner(fake.scale_sets().first()?.0) }).await;
    let job = fake.queue_job(job(1));
    until("the job to be assigned", || async { (first.github.queued(9).len() == 1).then_some(()) }).await;
    let second = Farm::start(&fake, &setup).await;
    let set = fake.scale_sets()[0].0;
    until("the second to have the session", || async {
        let owner = fake.session_owner(set);
        if owner.as_ref() == Some(&held) {
            fake.drop_session(set);
        }
        owner.filter(|owner| *owner != held)
    })
    .await;
    until("the first to forget", || async { first.github.queued(9).is_empty().then_some(()) }).await;
    let demand = first.forges().sources();
    for source in demand {
        let pools: Vec<_> = setup.pools.iter().filter(|pool| source.serves(pool)).cloned().collect();
        let wanted = source.demand(&pools).await.unwrap();
        assert!(wanted.values().all(std::collections::BTreeMap::is_empty), "{wanted:?} for {job:?}");
    }
    first.stop().await;
    second.stop().await;
}

/// Another program holds the database while a job begins: neither its log nor the message can be noted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_beginning_could_not_be_stored_is_still_judged_by_its_end() {
    let log = Log::start();
    let (fake, app) = github();
    fake.set_message_poll(Duration::from_millis(200));
    let farm = Farm::start(&fake, &Setup::new(&app, one_set())).await;
    fake.fault(Fault::on("POST", "/_runner/online").times(1_000_000).status(503, "Service Unavailable"));
    let script = format!("{}; exit 1", gate(&farm, "over"));
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["fast"], &script));
    until("the runner's program to run", || async {
        farm.rows().await.iter().any(|row| row.state == fireactions_model::JobState::Running).then_some(())
    })
    .await;
    let database = rusqlite::Connection::open(farm.dir.path().join("state/state.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    fake.clear_faults();
    // The message that it began, the runner's own word, and its hook's.
    let refused = || {
        let log = String::from_utf8_lossy(&log.bytes()).into_owned();
        log.matches("news about a runner could not be stored").count()
    };
    until("the news to be refused", || async { (refused() >= 3).then_some(()) }).await;
    database.execute_batch("ROLLBACK").unwrap();
    open_gate(&farm, "over");
    completed(&fake, &[job]).await;
    let row =
        until("the row to end", || async { farm.rows().await.into_iter().find(|row| row.state.is_final()) })
            .await;
    assert_eq!(row.state, fireactions_model::JobState::Failed, "{row:#?}");
    assert!(!row.notes.iter().any(|note| note.contains("got no job")), "{row:#?}");
    farm.stop().await;
}
