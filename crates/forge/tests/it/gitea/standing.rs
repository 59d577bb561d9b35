//! With a registration token alone, or a server that is too old, nothing tells of jobs: runners wait for them.

use fireactions_model::{ForgeRunner, PoolSpec};
use fireactions_testkit::gitea::{FakeGitea, JobStatus, Minor, Release, Scope};

use super::farm::{Farm, Setup, pool, server};
use super::{ended, exited, push, settled};
use crate::github::farm::until;

pub(crate) fn standing(fake: &FakeGitea, ready: u32, max: u32) -> PoolSpec {
    let mut pool = pool(fake, "p", &["debian"], max);
    let (ForgeRunner::Gitea(runner) | ForgeRunner::Forgejo(runner)) =
        &mut pool.forge.as_mut().unwrap().runner
    else {
        panic!()
    };
    runner.standing = Some(ready);
    pool
}

async fn online(fake: &FakeGitea, count: usize) {
    until("so many runners to wait", || async {
        let waiting = fake.registered().into_iter().filter(|runner| runner.task.is_none());
        (waiting.count() == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_took_a_job_is_replaced_at_once() {
    let (fake, _) = server(Release::GITEA);
    let token = fake.registration_token(&Scope::Organization("acme".to_owned()));
    let setup =
        Setup { token: None, registration: Some(token), ..Setup::new("", vec![standing(&fake, 2, 3)]) };
    let farm = Farm::start(&fake, &setup).await;
    online(&fake, 2).await;
    let first = push(&fake, &["debian"], "gate");
    until("it to run", || async { (fake.job(first).status == JobStatus::Running).then_some(()) }).await;
    online(&fake, 2).await;
    assert_eq!(farm.machines(), 3);
    // Two are busy, and the pool may have three.
    let second = push(&fake, &["debian"], "gate");
    until("it to run", || async { (fake.job(second).status == JobStatus::Running).then_some(()) }).await;
    online(&fake, 1).await;
    farm.gates.open("gate");
    assert_eq!(ended(&fake, &[first, second]).await, [JobStatus::Success; 2]);
    let rows = until("their rows to end", || async {
        let ended: Vec<_> = farm.rows().await.into_iter().filter(|row| row.state.is_final()).collect();
        (ended.len() == 2).then_some(ended)
    })
    .await;
    assert!(
        rows.iter().all(|row| row.notes.iter().any(|note| note.contains("only Gitea knows"))),
        "{rows:#?}"
    );
    assert_eq!(
        fake.count("GET", "/api/v1/**"),
        fake.count("GET", "/api/v1/version"),
        "nothing else may be asked"
    );
    farm.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_old_is_told_of_and_runners_wait() {
    for release in [Release::Gitea(Minor::V23), Release::Gitea(Minor::V24)] {
        let (fake, token) = server(release);
        let mut setup = Setup::new(&token, vec![pool(&fake, "p", &["debian"], 2)]);
        setup.webhook = false;
        let farm = Farm::start(&fake, &setup).await;
        let name = setup.pools[0].name.clone();
        let told = until("it to be told", || async { farm.forge.problem(&name) }).await;
        assert!(told.contains("upgrade to 1.25") && told.contains("runners wait"), "{told}");
        online(&fake, 1).await;
        let job = push(&fake, &["debian"], "succeed");
        assert_eq!(ended(&fake, &[job]).await, [JobStatus::Success], "{release:?}");
        let job = push(&fake, &["debian"], "fail");
        assert_eq!(ended(&fake, &[job]).await, [JobStatus::Failure], "{release:?}");
        let outcomes = until("the rows of both", || async {
            let rows = farm.rows().await.into_iter().filter(|row| row.state.is_final());
            let outcomes: Vec<_> = rows.filter_map(|row| row.outcome).collect();
            (outcomes.len() == 2).then_some(outcomes)
        })
        .await;
        assert!(outcomes.contains(&exited(0)) && outcomes.contains(&exited(1)), "{release:?} {outcomes:?}");
        // It learns it.
        fake.upgrade(Release::GITEA);
        let next = push(&fake, &["debian"], "succeed");
        assert_eq!(ended(&fake, &[next]).await, [JobStatus::Success], "{release:?}");
        farm.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_waits_for_a_paused_pool() {
    let (fake, token) = server(Release::GITEA);
    let farm = Farm::start(&fake, &Setup::new(&token, vec![standing(&fake, 1, 0)])).await;
    let job = push(&fake, &["debian"], "succeed");
    until("the queue to be read", || async {
        (fake.count("GET", "/api/v1/orgs/acme/actions/jobs") > 2).then_some(())
    })
    .await;
    assert_eq!((farm.machines(), fake.job(job).status), (0, JobStatus::Waiting));
    assert!(settled(&farm, 0).await.is_empty());
    farm.stop().await;
}
