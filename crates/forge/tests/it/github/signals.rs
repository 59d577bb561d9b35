//! Each signal may be lost, doubled, late or forged.

use std::time::Duration;

use fireactions_forge::{Answer, Delivery as Delivered};
use fireactions_testkit::github::{Delivery, JobRequest};

use crate::github::farm::{Farm, SECRET, SOON, Setup, github, pool, until};
use crate::github::queue::door;
use crate::github::{all_well, completed, no_violations};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_webhook_was_lost_is_found_by_the_audit() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 2, None)]);
    setup.audit = Duration::from_millis(500);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    fake.deliver_next(1, Delivery::Lost);
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_alone_serves_a_pool_without_any_signal() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 2, None)]);
    setup.audit = Duration::from_millis(500);
    let jobs: Vec<_> = (0..3)
        .map(|n| fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true").named(&n.to_string())))
        .collect();
    let farm = Farm::start(&fake, &setup).await;
    completed(&fake, &jobs).await;
    all_well(&fake, &jobs);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_come_twice_or_late_make_no_second_runner() {
    let (fake, app) = github();
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("p", &["debian"], 9, None)])).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    fake.deliver_next(1, Delivery::Duplicated);
    let first = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true").named("first"));
    completed(&fake, &[first]).await;
    // The word that it is queued comes after its end.
    fake.deliver_next(1, Delivery::Late(Duration::from_millis(1500)));
    let second = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true").named("second"));
    let helper = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true").named("third"));
    completed(&fake, &[first, helper]).await;
    fake.wait_delivered(SOON);
    completed(&fake, &[second]).await;
    all_well(&fake, &[first, second, helper]);
    // What a delivery says is on the board when it is answered.
    assert_eq!(farm.github.queued(9), [], "a word that comes late queues nothing anew");
    until("the machines to end", || async { (farm.machines() == 0).then_some(()) }).await;
    assert_eq!(fake.all_runners().len(), 3, "one for each job: {:#?}", fake.all_runners());
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_deliveries_are_refused_and_repeated_ones_do_nothing() {
    let (fake, app) = github();
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("p", &["debian"], 1, None)])).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    fake.deliver_next(1, Delivery::WrongSignature);
    fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    fake.wait_delivered(SOON);
    assert_eq!(fake.delivered().last().unwrap().answer, Ok(401));
    fake.deliver_next(1, Delivery::Unsigned);
    fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    fake.wait_delivered(SOON);
    assert_eq!(fake.delivered().last().unwrap().answer, Ok(401));
    assert_eq!(farm.machines(), 0, "nobody believed them");
    let unsigned = |name: &str| (name == "x-github-event").then_some("workflow_job");
    let garbage = Delivered { header: &unsigned, body: b"{}" };
    assert_eq!(farm.github.deliver(garbage).await, Answer::Forged);
    // Signed, but a proxy left out the header with the delivery's id; and what GitHub sends unless it is told otherwise.
    let other = fake.queue_job(JobRequest::new("acme/widgets", &["elsewhere"], "true"));
    let body = fake.payload(other, "in_progress").to_string().into_bytes();
    let signature = fireactions_testkit::github::sign(SECRET, &body);
    let mut answers = Vec::new();
    let form = "application/x-www-form-urlencoded";
    for (event, kind) in
        [("ping", form), ("workflow_job", form), ("workflow_job", "application/json; charset=utf-8")]
    {
        let headers =
            [("x-github-event", event), ("x-hub-signature-256", signature.as_str()), ("content-type", kind)];
        let header = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        answers.push(farm.github.deliver(Delivered { header: &header, body: &body }).await);
    }
    let [Answer::Malformed(ping), Answer::Malformed(why), Answer::Taken] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert!(why.contains("application/json") && why == ping, "{why} {ping}");
    fake.wait_delivered(SOON);
    fake.deliver_raw("workflow_job", b"not json", None);
    fake.wait_delivered(SOON);
    assert_eq!(fake.delivered().last().unwrap().answer, Ok(400));
    // Heard by somebody, and sent on under another id.
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["elsewhere"], "true").named("heard"));
    let heard = fake.payload(job, "in_progress").to_string();
    for _ in 0..2 {
        fake.deliver_raw("workflow_job", heard.as_bytes(), None);
        fake.wait_delivered(SOON);
        assert_eq!(fake.delivered().last().unwrap().answer, Ok(202));
    }
    let counts = farm.github.view().remote.unwrap().deliveries;
    assert_eq!((counts["forged"], counts["malformed"], counts["repeated"]), (3, 3, 1), "{counts:?}");
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_whose_job_was_cancelled_is_let_go_and_the_next_job_gets_another() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 1, None)]);
    setup.surplus = Duration::from_millis(500);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    // Its runner is registered, and starts; before it is online, nobody wants the job any more.
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    until("a runner", || async { fake.all_runners().into_iter().next() }).await;
    fake.cancel_job(job);
    until("the runner to go", || async { (farm.machines() == 0).then_some(()) }).await;
    let next = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true").named("next"));
    completed(&fake, &[next]).await;
    all_well(&fake, &[next]);
    until("no runner to be left", || async { fake.runners().is_empty().then_some(()) }).await;
    farm.stop().await;
    no_violations(&fake);
}
