//! Scale sets and their message queues.

use std::time::{Duration, Instant};

use fireactions_github::scaleset::{JobEvent, Message, ScaleSet, ScaleSetSpec, ScaleSets, Session};
use fireactions_github::{Credentials, Deleted, Error, Github, Timeouts};
use fireactions_testkit::github::{Fault, JobRequest};
use jiff::SignedDuration;

use crate::common::{Octo, app, assert_clean, scope, settings, timeouts};

const SETS: &str = "/_actions/_apis/runtime/runnerscalesets";
const QUEUE: &str = "/_actions/_message/*";

fn spec(labels: &[&str]) -> ScaleSetSpec {
    ScaleSetSpec {
        name: "fast".into(),
        group_id: 1,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        disable_update: true,
    }
}

/// A set with a session.
struct Listening {
    octo: Octo,
    sets: ScaleSets,
    set: ScaleSet,
    session: Session,
    /// The set's number, as the fake has it.
    number: u64,
}

async fn listening() -> Listening {
    let octo = Octo::new();
    octo.fake.set_message_poll(Duration::from_millis(200));
    let sets = ScaleSets::new(&octo.github, scope("octo"));
    let set = sets.ensure(&spec(&["fast"])).await.unwrap();
    let session = sets.open_session(set.id, "host-a").await.unwrap();
    let number = octo.fake.scale_sets()[0].0;
    Listening { octo, sets, set, session, number }
}

impl Listening {
    fn queue(&self) -> u64 {
        self.octo.fake.queue_job(JobRequest::new("octo/app", &["fast"], "true")).0
    }

    /// The next message; the queue is asked for some seconds.
    async fn message(&mut self) -> Message {
        for _ in 0..50 {
            if let Some(message) = self.session.next(5).await.unwrap() {
                return message;
            }
        }
        panic!("no message came");
    }
}

#[tokio::test]
async fn a_set_is_made_adopted_and_changed() {
    let octo = Octo::new();
    let sets = ScaleSets::new(&octo.github, scope("octo"));
    assert_eq!(sets.find(1, "fast").await.unwrap(), None);
    let made = sets.ensure(&spec(&["fast"])).await.unwrap();
    assert!(made.disable_update, "an image has a version of its runner");
    // By a server that was started anew, whatever the case of its labels.
    let adopted = ScaleSets::new(&octo.github, scope("octo")).ensure(&spec(&["FAST"])).await.unwrap();
    assert_eq!((adopted.id, adopted.labels), (made.id, vec!["fast".to_owned()]));
    let changed = sets.ensure(&spec(&["fast", "gpu"])).await.unwrap();
    assert_eq!((changed.id, changed.labels.len()), (made.id, 2));
    assert_eq!(octo.fake.scale_sets().len(), 1);
    sets.delete(made.id).await.unwrap();
    sets.delete(made.id).await.unwrap();
    assert_eq!(octo.fake.scale_sets(), []);
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn one_listens_at_a_time() {
    let Listening { octo, sets, set, session, number } = listening().await;
    let error = sets.open_session(set.id, "host-b").await.unwrap_err();
    assert!(
        matches!(&error, Error::SessionConflict { message, .. } if message.contains("host-a")),
        "{error}"
    );
    session.close().await.unwrap();
    let session = sets.open_session(set.id, "host-b").await.unwrap();
    assert_eq!(octo.fake.session_owner(number).as_deref(), Some("host-b"));
    // The other's end is not lost when its answer is: the session is gone, which is as good.
    octo.fake.drop_session(number);
    session.close().await.unwrap();
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_message_comes_until_it_is_acknowledged() {
    let mut l = listening().await;
    let job = l.queue();
    let message = l.message().await;
    let [JobEvent::Available(info)] = message.events.as_slice() else { panic!("{message:?}") };
    assert_eq!(info.repository.as_ref().unwrap().to_string(), "octo/app");
    assert_eq!(l.message().await.id, message.id, "it was not acknowledged");
    let request = info.request_id;
    assert_eq!(l.session.acquire(&[request]).await.unwrap(), [request]);
    l.session.acknowledge(message.id).await.unwrap();
    // As after an answer that was lost.
    l.session.acknowledge(message.id).await.unwrap();
    let message = l.message().await;
    assert!(
        matches!(message.events.as_slice(), [JobEvent::Assigned(info)] if info.request_id == request),
        "{message:?}"
    );
    assert_eq!((message.statistics.assigned, l.session.statistics().assigned), (1, 1));
    l.session.acknowledge(message.id).await.unwrap();
    assert_eq!(l.session.next(5).await.unwrap(), None);
    assert_eq!(l.session.acquire(&[request]).await.unwrap(), [], "it has it already");
    assert_eq!(l.octo.fake.job(fireactions_testkit::github::JobId(job)).runs(), 0);
    assert_clean(&l.octo.fake);
}

#[tokio::test]
async fn a_queue_token_that_ends_under_a_question_is_renewed() {
    let mut l = listening().await;
    l.octo.fake.set_message_poll(Duration::from_secs(20));
    let fake = l.octo.fake.clone();
    let number = l.number;
    let asked = || fake.calls().of("GET /_actions/_message/{id}");
    let asked_again = async |before: u64| {
        while asked() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let before = asked();
    let trouble = async {
        asked_again(before).await;
        fake.expire_queue_token(number);
        asked_again(before + 1).await;
        fake.queue_job(JobRequest::new("octo/app", &["fast"], "true"));
    };
    let (message, ()) = tokio::join!(l.session.next(5), trouble);
    let message = message.unwrap().unwrap();
    // And before an acknowledgement, and before jobs are acquired.
    let [JobEvent::Available(info)] = message.events.as_slice() else { panic!("{message:?}") };
    l.octo.fake.expire_queue_token(number);
    assert_eq!(l.session.acquire(&[info.request_id]).await.unwrap().len(), 1);
    l.octo.fake.expire_queue_token(number);
    l.session.acknowledge(message.id).await.unwrap();
    assert_clean(&l.octo.fake);
}

#[tokio::test]
async fn a_session_that_github_forgot_is_an_error_and_its_offers_come_again() {
    let mut l = listening().await;
    l.queue();
    let first = l.message().await;
    l.octo.fake.drop_session(l.number);
    let error = l.session.next(5).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    l.session = l.sets.open_session(l.set.id, "host-a").await.unwrap();
    let again = l.message().await;
    assert!(matches!(again.events[0], JobEvent::Available(_)), "{first:?} {again:?}");
    assert_clean(&l.octo.fake);
}

#[tokio::test]
async fn a_storm_is_sat_out_and_then_told() {
    let mut l = listening().await;
    l.octo.fake.fault(Fault::on("GET", QUEUE).times(2).status(503, "no"));
    l.octo.fake.fault(Fault::on("GET", QUEUE).reset());
    l.queue();
    l.message().await;
    assert_eq!(l.octo.fake.faults_left(), 0);
    l.octo.fake.fault(Fault::on("GET", QUEUE).times(1000).status(502, "no"));
    let error = l.session.next(5).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(l.octo.fake.faults_left() > 990, "it is not asked without end");
    assert_clean(&l.octo.fake);
}

#[tokio::test]
async fn a_set_without_room_is_offered_nothing() {
    let mut l = listening().await;
    assert_eq!(l.session.next(0).await.unwrap(), None);
    l.queue();
    let told = l.session.next(0).await.unwrap().unwrap();
    assert_eq!((told.events.as_slice(), told.statistics.available), (&[][..], 1), "it waits, and is told of");
    l.session.acknowledge(told.id).await.unwrap();
    assert_eq!(l.session.next(0).await.unwrap(), None);
    let offered = l.message().await;
    assert!(matches!(offered.events.as_slice(), [JobEvent::Available(_)]), "{offered:?}");
    assert_clean(&l.octo.fake);
}

#[tokio::test]
async fn statistics_are_those_of_their_message_and_a_message_may_have_nothing_else() {
    let mut l = listening().await;
    l.queue();
    let first = l.message().await;
    l.queue();
    assert_eq!(l.message().await.statistics.available, 1, "it was written before the second");
    l.session.acknowledge(first.id).await.unwrap();
    let second = l.message().await;
    assert_eq!((second.statistics.available, l.session.statistics().available), (2, 2));
    l.session.acknowledge(second.id).await.unwrap();
    l.sets.generate_jit(l.set.id, "fa-1", "_work").await.unwrap();
    let alone = l.message().await;
    assert_eq!((alone.events.as_slice(), alone.statistics.registered), (&[][..], 1));
    l.session.acknowledge(alone.id).await.unwrap();
    assert_eq!(l.session.next(5).await.unwrap(), None);
    assert_clean(&l.octo.fake);
}

#[tokio::test]
async fn answers_with_a_byte_order_mark_and_tokens_that_ran_out_are_no_trouble() {
    let octo = Octo::new();
    octo.fake.set_bom(true);
    let sets = ScaleSets::new(&octo.github, scope("octo"));
    let set = sets.ensure(&spec(&["fast"])).await.unwrap();
    octo.fake.expire_admin_tokens();
    let mut session = sets.open_session(set.id, "host-a").await.unwrap();
    octo.fake.queue_job(JobRequest::new("octo/app", &["fast"], "true"));
    let message = session.next(1).await.unwrap().unwrap();
    octo.fake.expire_admin_tokens();
    let [JobEvent::Available(info)] = message.events.as_slice() else { panic!("{message:?}") };
    session.acquire(&[info.request_id]).await.unwrap();
    session.close().await.unwrap();
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_runner_of_a_set_is_made_once_and_deleted() {
    let Listening { octo, sets, set, .. } = listening().await;
    let jit = sets.generate_jit(set.id, "fa-1", "_work").await.unwrap();
    assert!(!format!("{jit:?}").contains(jit.config.expose()), "a credential is in no log");
    let error = sets.generate_jit(set.id, "fa-1", "_work").await.unwrap_err();
    assert_eq!(error, Error::NameTaken { name: "fa-1".into() });
    assert_eq!(sets.runner("fa-1").await.unwrap(), Some(jit.runner_id));
    assert_eq!(sets.runner("fa-2").await.unwrap(), None);
    let agents = "/_actions/_apis/distributedtask/pools/0/agents/*";
    let busy =
        r#"{"typeName": "GitHub.DistributedTask.WebApi.JobStillRunningException, GitHub", "message": "no"}"#;
    octo.fake.fault(Fault::on("DELETE", agents).answer(400, &[], busy));
    assert_eq!(sets.delete_runner(jit.runner_id).await.unwrap(), Deleted::Busy);
    assert_eq!(sets.delete_runner(jit.runner_id).await.unwrap(), Deleted::Gone);
    assert_eq!(sets.delete_runner(jit.runner_id).await.unwrap(), Deleted::Gone);
    assert_eq!(octo.fake.runners(), []);
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_registration_token_that_is_not_known_everywhere_yet_is_tried_again() {
    let octo = Octo::new();
    octo.fake
        .fault(Fault::on("POST", "/actions/runner-registration").times(2).status(401, "Bad credentials"));
    let sets = ScaleSets::new(&octo.github, scope("octo"));
    sets.ensure(&spec(&["fast"])).await.unwrap();
    assert_eq!(octo.fake.faults_left(), 0);
    octo.fake.fault(Fault::on("POST", SETS).status(403, "no"));
    let error = sets.ensure(&spec(&["fast", "gpu"])).await.map(|_| ()).err();
    assert_eq!(error, None, "a change is a PATCH");
    octo.fake.clear_faults();
    assert_clean(&octo.fake);
}

const REGISTRATIONS: &str = "POST /orgs/{org}/actions/runners/registration-token";

#[tokio::test]
async fn a_service_whose_clock_is_another_keeps_its_token() {
    // As its token says by our clock, it ended hours ago; or lives for hours more than it does.
    for hours in [-5, 5] {
        let octo = Octo::new();
        octo.fake.set_clock_offset(SignedDuration::from_hours(hours));
        let sets = ScaleSets::new(&octo.github, scope("octo"));
        for _ in 0..3 {
            assert_eq!(sets.find(1, "fast").await.unwrap(), None);
        }
        assert_eq!(octo.calls(REGISTRATIONS), 1, "{hours} h");
        assert_clean(&octo.fake);
    }
}

#[tokio::test]
async fn rate_limits_of_the_service_are_respected() {
    let octo = Octo::new();
    let sets = ScaleSets::new(&octo.github, scope("octo"));
    let register = Fault::on("POST", "/actions/runner-registration");
    octo.fake.fault(register.clone().secondary_limit(Duration::from_secs(1)));
    let began = Instant::now();
    sets.find(1, "fast").await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1), "it waited");
    assert_eq!(octo.calls(REGISTRATIONS), 1, "and came with the same token");

    octo.fake.expire_admin_tokens();
    octo.fake.fault(register.secondary_limit(Duration::from_secs(600)));
    let error = sets.find(1, "fast").await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { secondary: true, .. }), "{error}");
    assert!(error.retry_after().unwrap() > Duration::from_secs(590));
    let before = octo.calls("POST /actions/runner-registration");
    let error = sets.find(1, "fast").await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { .. }), "{error}");
    assert_eq!(octo.calls("POST /actions/runner-registration"), before, "nothing is sent before its time");
    // Nor to the queues, by the same rule.
    let mut l = listening().await;
    l.octo.fake.fault(Fault::on("GET", QUEUE).secondary_limit(Duration::from_secs(600)));
    let error = l.session.next(1).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { .. }), "{error}");
    let sent = l.octo.github.calls();
    assert!(l.session.next(1).await.is_err());
    assert_eq!(l.octo.github.calls(), sent);
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn a_service_that_cannot_be_opened_is_asked_once_for_all_who_wait() {
    let octo = Octo::new();
    let times = Timeouts {
        request: Duration::from_secs(1),
        total: Duration::from_secs(3),
        attempts: 2,
        ..timeouts()
    };
    let credentials = Credentials::Apps(vec![app(&octo.key)]);
    let github = Github::with_timeouts(settings(&octo.fake.url(), credentials), times).unwrap();
    octo.fake.fault(
        Fault::on("POST", "/actions/runner-registration").times(1000).stall(Duration::from_secs(3600)),
    );
    let sets = ScaleSets::new(&github, scope("octo"));
    let calls = (0..10).map(|_| sets.find(1, "fast"));
    for result in futures::future::join_all(calls).await {
        assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
    }
    let asked = octo.calls("POST /actions/runner-registration");
    assert!(asked < 10, "{asked}");
    octo.fake.clear_faults();
    sets.find(1, "fast").await.unwrap();
    assert_clean(&octo.fake);
}
