//! Jobs that wait, found by asking.

use fireactions_github::{Credentials, Error, JobId, JobStatus, ListedRepository, Repository};
use fireactions_testkit::github::JobRequest;

use crate::common::{Octo, assert_clean, client, scope, token};

fn repository() -> Repository {
    "octo/app".parse().unwrap()
}

#[tokio::test]
async fn jobs_that_wait_are_found() {
    let octo = Octo::new();
    let one = octo.fake.queue_job(JobRequest::new("octo/app", &["linux", "gpu"], "true"));
    let run = ["a", "b"].map(|name| JobRequest::new("octo/app", &["linux"], "true").named(name));
    let two = octo.fake.queue_run(run.into());
    let held = octo.fake.hold_job(JobRequest::new("octo/app", &["linux"], "true"));
    let found = octo.github.queued_jobs(&repository()).await.unwrap();
    let mut ids: Vec<u64> = found.iter().map(|job| job.id.get()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [one.0, two[0].0, two[1].0]);
    let job = found.iter().find(|job| job.id.get() == one.0).unwrap();
    assert_eq!((job.status, &job.labels), (JobStatus::Queued, &vec!["linux".to_owned(), "gpu".to_owned()]));
    assert_eq!((job.workflow.as_deref(), job.runner_id, &job.repository), (Some("CI"), None, &repository()));
    assert!(job.url.starts_with("http") && job.created_at.is_some());

    let waiting = octo.github.workflow_job(&repository(), JobId::new(held.0)).await.unwrap().unwrap();
    assert_eq!(waiting.status, JobStatus::Waiting);
    assert_eq!(octo.github.workflow_job(&repository(), JobId::new(1)).await.unwrap(), None);
    octo.fake.cancel_job(one);
    let cancelled = octo.github.workflow_job(&repository(), JobId::new(one.0)).await.unwrap().unwrap();
    assert_eq!(
        (cancelled.status, cancelled.conclusion.as_deref()),
        (JobStatus::Completed, Some("cancelled"))
    );
    assert_eq!(octo.github.queued_jobs(&repository()).await.unwrap().len(), 2);
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn asking_again_for_what_has_not_changed_is_free() {
    let octo = Octo::new();
    for _ in 0..3 {
        octo.fake.queue_job(JobRequest::new("octo/app", &["linux"], "true"));
    }
    let remaining =
        || octo.github.limits().iter().find(|l| l.credential.contains("installation")).unwrap().remaining;
    let first = octo.github.queued_jobs(&repository()).await.unwrap();
    let (before, calls) = (remaining(), octo.github.calls());
    for _ in 0..3 {
        assert_eq!(octo.github.queued_jobs(&repository()).await.unwrap(), first);
    }
    assert_eq!(octo.github.calls(), calls + 15, "it was asked");
    assert_eq!(remaining(), before, "and cost nothing");
    octo.fake.queue_job(JobRequest::new("octo/app", &["linux"], "true"));
    assert_eq!(octo.github.queued_jobs(&repository()).await.unwrap().len(), 4);
    assert!(remaining() < before);
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn the_repositories_of_an_organization_are_those_that_the_credential_sees() {
    let octo = Octo::new();
    for n in 0..120 {
        octo.fake.repository(&format!("octo/r{n}"));
    }
    octo.fake.repository("other/app");
    let all = octo.github.repositories(&scope("octo")).await.unwrap();
    assert_eq!(all.len(), 121);
    assert!(all.iter().all(|listed| listed.repository.owner() == "octo"));
    // Whose credential it is needs no asking for each.
    let before = octo.fake.calls().total;
    octo.github.queued_jobs(&all[7].repository).await.unwrap();
    assert_eq!(octo.fake.calls().total, before + 2);

    octo.fake.select_repositories(octo.installation, &["octo/app"]);
    octo.fake.revoke_tokens();
    let listed = |name: &str, public: bool| [ListedRepository { repository: name.parse().unwrap(), public }];
    assert_eq!(octo.github.repositories(&scope("octo")).await.unwrap(), listed("octo/app", false));
    octo.fake.publish("octo/app");
    assert_eq!(octo.github.repositories(&scope("octo")).await.unwrap(), listed("octo/app", true));
    assert_eq!(octo.github.repositories(&scope("octo/r1")).await.unwrap(), listed("octo/r1", false));

    let pat = octo.fake.personal_token(&["repo", "admin:org"]);
    let by_token = client(&octo.fake.url(), token(&pat));
    assert_eq!(by_token.repositories(&scope("octo")).await.unwrap().len(), 121);
    let error = by_token.repositories(&scope("enterprises/big")).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert_clean(&octo.fake);
}

#[tokio::test]
async fn an_app_that_may_not_see_actions_is_told_so() {
    let octo = Octo::new();
    octo.fake.set_permissions(octo.installation, &[("metadata", "read")]);
    let error = octo.github.queued_jobs(&repository()).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }) && !error.is_transient(), "{error}");
    let github = client(&octo.fake.url(), Credentials::Apps(vec![crate::common::app(&octo.key)]));
    let error = github.queued_jobs(&"octo/none".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
