//! Runners are deregistered on every path, and only ours.

use std::time::Duration;

use fireactions_testkit::github::{Fault, JobRequest, JobStatus, RunnerFate, Scope};

use crate::github::farm::{Farm, SECRET, Setup, gate, github, open_gate, pool, until};
use crate::github::queue::door;
use crate::github::{all_well, completed, no_violations};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_is_lost_leaves_no_runner_and_the_job_is_not_lost_with_it() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 2, None)]);
    setup.audit = Duration::from_secs(1);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "sleep 600"));
    let runner = until("the job to run", || async {
        let job = fake.job(job);
        (job.status == JobStatus::InProgress).then(|| job.runner_name().unwrap().to_owned())
    })
    .await;
    until("the server to know", || async {
        farm.rows().await.iter().any(|row| row.remote.as_ref().unwrap().is_picked_up()).then_some(())
    })
    .await;
    farm.lose_machine(&runner).await;
    // GitHub misses it after some minutes.
    fake.lose_runner(&runner);
    until("the runner to be gone", || async { fake.runners().is_empty().then_some(()) }).await;
    let ended = completed(&fake, &[job]).await;
    assert_eq!(
        (ended[0].conclusion.as_deref(), ended[0].runs()),
        (Some("failure"), 1),
        "a job that began is GitHub's to judge"
    );
    let row = farm.rows().await.remove(0);
    assert_eq!((row.state, row.attempt), (fireactions_model::JobState::Lost, 1));
    farm.stop().await;
    no_violations(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_was_deleted_by_hand_costs_nothing_but_itself() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 2, None)]);
    setup.audit = Duration::from_secs(1);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    // Its program's first question is not answered: there is time to delete it before it has its job.
    fake.fault(Fault::on("POST", "/_runner/online").times(1000).status(503, "Service Unavailable"));
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    let runner = until("a runner", || async { fake.runners().into_iter().next() }).await;
    fake.delete_runner_by_hand(&runner.name);
    fake.clear_faults();
    let fate = fake.all_runners().into_iter().find(|other| other.id == runner.id).unwrap().fate;
    assert_eq!(fate, Some(RunnerFate::DeletedByHand));
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    until("the machines to end", || async { (farm.machines() == 0).then_some(()) }).await;
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ghosts_of_this_server_are_removed_and_other_hosts_runners_are_not() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 2, None)]);
    setup.audit = Duration::from_millis(300);
    let farm = Farm::start(&fake, &setup).await;
    let key = farm.store.runner_key("other").await.unwrap();
    let scope = Scope::Organization("acme".into());
    let ghost = format!("fireactions-{key}-m0123456789");
    for name in [ghost.as_str(), "fireactions-zzzzzz-m0123456789", "somebody-elses"] {
        fake.jit_config(&scope, name, &["debian"]);
    }
    let left = until("the ghost to be gone", || async {
        let left: Vec<String> = fake.runners().into_iter().map(|runner| runner.name).collect();
        (!left.contains(&ghost)).then_some(left)
    })
    .await;
    assert_eq!(left, ["fireactions-zzzzzz-m0123456789", "somebody-elses"]);
    let fate = fake.all_runners().into_iter().find(|runner| runner.name == ghost).unwrap().fate;
    assert_eq!(fate, Some(RunnerFate::Deleted));
    farm.stop().await;
    no_violations(&fake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_github_does_not_take_any_more_is_told_as_what_it_is() {
    let (fake, app) = github();
    let farm = Farm::start(&fake, &Setup::new(&app, vec![pool("p", &["debian"], 1, None)])).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    fake.deprecate_runners(true);
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], "true"));
    let row = until("a runner to fail", || async {
        farm.rows().await.into_iter().find(|row| row.state.is_final())
    })
    .await;
    assert!(row.reason.as_ref().unwrap().contains("rebuild the image with a newer runner"), "{row:#?}");
    fake.deprecate_runners(false);
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_was_changed_at_github_is_told_until_it_is_right_again() {
    let (fake, app) = github();
    let other = fake.runner_group(&Scope::Organization("acme".into()), "others");
    let mut setup = Setup::new(&app, vec![pool("p", &["debian"], 2, None)]);
    setup.audit = Duration::from_millis(300);
    let farm = Farm::start(&fake, &setup).await;
    fake.webhook(&door(farm.github.clone()).await, SECRET);
    let name = fireactions_model::PoolName::new("p").unwrap();
    let script = gate(&farm, "over");
    let job = fake.queue_job(JobRequest::new("acme/widgets", &["debian"], &script));
    let runner = until("the job to run", || async {
        let job = fake.job(job);
        (job.status == JobStatus::InProgress).then(|| job.runner_name().unwrap().to_owned())
    })
    .await;
    assert_eq!(farm.github.problem(&name), None);
    fake.change_runner_by_hand(&runner, &["windows"], other);
    let told = until("the change to be told", || async { farm.github.problem(&name) }).await;
    assert!(
        told.contains("lack the labels debian, so")
            && told.contains(&format!("are in runner group {other}, not 1")),
        "{told}"
    );
    fake.change_runner_by_hand(&runner, &["debian"], 1);
    until("it to be well again", || async { farm.github.problem(&name).is_none().then_some(()) }).await;
    open_gate(&farm, "over");
    completed(&fake, &[job]).await;
    all_well(&fake, &[job]);
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_set_that_was_changed_at_github_is_mended_by_the_audit() {
    let (fake, app) = github();
    let mut setup = Setup::new(&app, vec![pool("set", &["debian"], 2, Some("fast"))]);
    setup.audit = Duration::from_millis(300);
    let farm = Farm::start(&fake, &setup).await;
    let set = until("the session", || async {
        let set = fake.scale_sets().first()?.0;
        fake.session_owner(set).map(|_| set)
    })
    .await;
    let right = fake.scale_set_labels(set);
    fake.change_scale_set_by_hand(set, &["other"]);
    until("the labels to be right again", || async { (fake.scale_set_labels(set) == right).then_some(()) })
        .await;
    farm.stop().await;
    no_violations(&fake);
}
