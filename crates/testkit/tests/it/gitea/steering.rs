//! What tests make the fake do.

use std::time::Duration;

use fireactions_testkit::gitea::runner::{FakeRunner, Outcome};
use fireactions_testkit::gitea::{
    Delivery, FakeGitea, Fault, JobRequest, JobStatus, Major, Minor, Release, RunnerFate, Scope, Workflow,
    sign,
};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use super::inbox::Inbox;
use super::replay::Answer;

/// Long after anything that is waited for, on a machine that does something else besides.
const SOON: Duration = Duration::from_secs(60);

/// A server with `acme/app`, and its owner's token.
fn world(release: Release) -> (FakeGitea, String) {
    let fake = FakeGitea::local(release);
    let token = people(&fake);
    (fake, token)
}

fn people(fake: &FakeGitea) -> String {
    fake.site_admin("boss");
    fake.organization("acme", "boss");
    fake.repository("acme/app");
    fake.token("boss", &["all"])
}

fn acme() -> Scope {
    Scope::Organization("acme".into())
}

fn client() -> reqwest::Client {
    let policy = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_proxy().redirect(policy).build().unwrap()
}

async fn ask(fake: &FakeGitea, token: &str, method: Method, path: &str) -> Answer {
    let request = client().request(method, format!("{}/api/v1{path}", fake.url()));
    Answer::of(request.header("authorization", format!("token {token}")).send().await.unwrap()).await
}

/// A runner that is registered for `acme`.
async fn runner(fake: &FakeGitea, name: &str, is_ephemeral: bool) -> FakeRunner {
    let token = fake.registration_token(&acme());
    FakeRunner::register(&fake.url(), &token, name, &["linux"], is_ephemeral).await.unwrap()
}

#[tokio::test]
async fn releases_have_the_routes_that_they_had() {
    let routes = [
        (Method::GET, "/orgs/acme/actions/runners/registration-token"),
        (Method::POST, "/orgs/acme/actions/runners/registration-token"),
        (Method::GET, "/admin/runners/registration-token"),
        (Method::GET, "/orgs/acme/actions/runners"),
        (Method::PATCH, "/orgs/acme/actions/runners/1"),
        (Method::DELETE, "/orgs/acme/actions/runners/1"),
        (Method::GET, "/orgs/acme/actions/jobs"),
        (Method::GET, "/orgs/acme/actions/runners/jobs"),
        (Method::GET, "/admin/actions/runners/jobs"),
        (Method::GET, "/admin/runners/jobs"),
        (Method::GET, "/repos/acme/app/actions/runs"),
        (Method::GET, "/repos/acme/app/actions/jobs/1"),
        (Method::GET, "/repos/acme/app/actions/tasks"),
        (Method::GET, "/repositories/1"),
    ];
    let expected: [(Release, [u16; 14]); 9] = [
        (Release::Gitea(Minor::V22), [200, 405, 200, 404, 404, 404, 404, 404, 404, 404, 404, 404, 200, 200]),
        (Release::Gitea(Minor::V23), [200, 405, 200, 404, 404, 404, 404, 404, 404, 404, 404, 404, 200, 200]),
        (Release::Gitea(Minor::V24), [200, 200, 200, 200, 405, 500, 404, 404, 404, 404, 404, 404, 200, 200]),
        (Release::Gitea(Minor::V25), [200, 200, 200, 200, 405, 500, 200, 404, 404, 404, 200, 404, 200, 200]),
        (Release::Gitea(Minor::V26), [404, 200, 404, 200, 404, 404, 200, 404, 404, 404, 200, 404, 200, 200]),
        (
            Release::Forgejo(Major::V11),
            [200, 405, 200, 404, 404, 404, 404, 200, 404, 200, 404, 404, 200, 200],
        ),
        (
            Release::Forgejo(Major::V13),
            [200, 405, 200, 404, 404, 404, 404, 200, 404, 200, 200, 404, 200, 200],
        ),
        (
            Release::Forgejo(Major::V14),
            [200, 405, 200, 404, 404, 404, 404, 200, 404, 200, 200, 404, 200, 200],
        ),
        (
            Release::Forgejo(Major::V15),
            [200, 405, 200, 200, 405, 404, 404, 200, 200, 200, 200, 404, 200, 200],
        ),
    ];
    assert_eq!(expected.map(|(release, _)| release), Release::ALL);
    for (release, expected) in expected {
        let (fake, token) = world(release);
        let mut got = Vec::new();
        for (method, path) in &routes {
            got.push(ask(&fake, &token, method.clone(), path).await.status);
        }
        assert_eq!(got, expected, "{release:?}");
        assert_eq!(ask(&fake, "", Method::GET, "/version").await.body["version"], release.version());
        assert_eq!(fake.calls(), routes.len() as u64 + 1);
        assert_eq!(fake.count("GET", "/api/v1/*/acme/**"), 7);
        assert_eq!(fake.requests()[0].path, "/api/v1/orgs/acme/actions/runners/registration-token");
    }
}

#[tokio::test]
async fn a_job_goes_its_way_on_every_release() {
    for release in Release::ALL {
        let (fake, _) = world(release);
        let idle = runner(&fake, "idle", true).await;
        assert_eq!(idle.fetch().await.unwrap(), None);
        let job = fake.queue_job("acme/app", &["linux"]);
        let done = idle.one_job(&["linux:host"], Outcome::Failure).await.unwrap().expect("a task");
        assert!(done.workflow.contains("runs-on: linux\n"), "{}", done.workflow);
        assert_eq!(done.context["repository"], "acme/app");
        let job = fake.job(job);
        assert_eq!((job.status, job.log_is_whole), (JobStatus::Failure, true));
        assert_eq!(
            (job.runner_name.as_deref(), job.log.as_slice()),
            (Some("idle"), &["hello world".into()][..])
        );
        let is_forgotten = release >= Release::Forgejo(Major::V15)
            || (release.is_gitea() && release >= Release::Gitea(Minor::V24));
        let fate = fake.runners()[0].fate;
        assert_eq!(fate, is_forgotten.then_some(RunnerFate::Used), "{release:?}");
        assert_eq!(idle.fetch().await.is_err(), is_forgotten, "{release:?}");
    }
}

#[tokio::test]
async fn nobody_tells_an_ephemeral_runner_of_a_cancel() {
    for (release, status, code) in
        [(Release::GITEA, 500, "unknown"), (Release::FORGEJO, 401, "unauthenticated")]
    {
        let (fake, _) = world(release);
        let (once, always) = (runner(&fake, "once", true).await, runner(&fake, "always", false).await);
        let jobs = fake.queue_jobs("acme/app", &["linux"], 2);
        let tasks = (once.fetch().await.unwrap().unwrap(), always.fetch().await.unwrap().unwrap());
        assert_eq!(once.heartbeat(&tasks.0).await.unwrap(), "");
        assert_eq!(fake.stands(1), (true, true));
        assert_eq!(fake.stands(2), (true, false));
        for job in &jobs {
            fake.cancel(*job);
        }
        let refused = once.heartbeat(&tasks.0).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (status, code));
        assert!(refused.message.ends_with("unregistered runner"));
        assert_eq!(always.heartbeat(&tasks.1).await.unwrap(), "RESULT_CANCELLED");
        assert_eq!(
            fake.runners().iter().map(|runner| runner.fate).collect::<Vec<_>>(),
            [Some(RunnerFate::Cancelled), None]
        );
        assert_eq!(fake.job(jobs[0]).status, JobStatus::Cancelled);
    }
}

#[tokio::test]
async fn who_has_seen_how_the_queue_stands_gets_nothing_of_it() {
    let (fake, _) = world(Release::GITEA);
    let idle = runner(&fake, "idle", true).await;
    let fetch = async |version: &str| {
        let body = json!({"tasksVersion": version});
        idle.call("FetchTask", &body).await.unwrap()
    };
    let seen = fetch("0").await["tasksVersion"].as_str().unwrap().to_owned();
    fake.queue_job("acme/app", &["linux"]);
    let next = idle.call("FetchTask", &json!({"tasksVersion": "77"})).await.unwrap();
    assert_ne!(next["tasksVersion"], seen.as_str());
    assert!(next["task"].is_object());
    let other = runner(&fake, "other", true).await;
    fake.queue_job("acme/app", &["linux"]);
    let version = other.call("FetchTask", &json!({"tasksVersion": "3"})).await.unwrap();
    assert!(version["task"].is_null(), "{version}");
    assert!(other.fetch().await.unwrap().is_some());
}

#[tokio::test]
async fn labels_count_as_each_forge_counts_them() {
    for release in [Release::GITEA, Release::FORGEJO] {
        let (fake, _) = world(release);
        let idle = runner(&fake, "idle", false).await;
        for labels in [&["Linux"][..], &["linux", "gpu"]] {
            fake.queue_job("acme/app", labels);
        }
        assert_eq!(idle.fetch().await.unwrap(), None);
        fake.queue_job("acme/app", &[]);
        assert_eq!(idle.fetch().await.unwrap().is_some(), release.is_gitea(), "{release:?}");
        // It may say that it has any label.
        idle.declare(&["linux:host", "gpu:docker://x"]).await.unwrap();
        assert!(idle.fetch().await.unwrap().is_some());
    }
}

#[tokio::test]
async fn faults_happen_as_they_are_scripted() {
    let (fake, token) = world(Release::GITEA);
    let runners = "/orgs/acme/actions/runners";
    fake.database_locked("GET", "/api/v1/orgs/*/actions/runners", 1);
    let answer = ask(&fake, &token, Method::GET, runners).await;
    assert_eq!((answer.status, &answer.body["message"]), (500, &Value::from("database is locked")));
    assert_eq!(ask(&fake, &token, Method::GET, runners).await.status, 200);
    let idle = runner(&fake, "idle", true).await;
    fake.database_locked("POST", "/api/actions/**", 1);
    let refused = idle.fetch().await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (500, "unknown"));
    assert!(refused.message.ends_with("pick task: database is locked"));
    assert_eq!(fake.stands(1), (false, false));
    assert_eq!(idle.fetch().await.unwrap(), None);
    fake.fault(Fault::on("POST", "/api/actions/runner.v1.RunnerService/Register").lost_answer());
    let registration = fake.registration_token(&acme());
    let lost = FakeRunner::register(&fake.url(), &registration, "lost", &["linux"], true).await;
    assert_eq!(lost.unwrap_err().status, 0);
    assert_eq!(fake.registered().len(), 2, "it is there, and nobody knows");
    assert_eq!(fake.faults_left(), 0);

    fake.redirect(Some((308, "https://git.example")));
    let answer = ask(&fake, &token, Method::GET, runners).await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some("https://git.example/api/v1/orgs/acme/actions/runners"));
    fake.redirect(None);
    fake.set_page_cap(1);
    let answer = ask(&fake, &token, Method::GET, "/orgs/acme/actions/runners?limit=50").await;
    assert_eq!(
        (answer.body["runners"].as_array().unwrap().len(), &answer.body["total_count"]),
        (1, &2.into())
    );

    assert_eq!(fake.stands(1), (true, false));
    fake.set_clock_offset(SignedDuration::from_hours(-8));
    let answer = ask(&fake, &token, Method::GET, runners).await;
    let said = answer.header("date").unwrap();
    let said = jiff::fmt::rfc2822::parse(said).unwrap().timestamp();
    assert!(fake.now().duration_since(said) < SignedDuration::from_mins(10), "{said}");
    fake.set_clock_offset(SignedDuration::from_mins(2));
    assert_eq!(fake.stands(1), (false, false), "not heard of for a minute");
    fake.revoke(&token);
    assert_eq!(ask(&fake, &token, Method::GET, runners).await.status, 401);
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let (fake, _) = world(Release::FORGEJO);
    let idle = runner(&fake, "idle", true).await;
    let job = fake.queue_job("acme/app", &["linux"]);
    let task = idle.fetch().await.unwrap().unwrap();
    fake.stop();
    fake.wait_for("the server is gone", SOON, |fake| {
        let address = fake.url().replace("http://", "");
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    assert_eq!(idle.heartbeat(&task).await.unwrap_err().status, 0);
    fake.start_again();
    idle.finish(&task, Outcome::Success).await.unwrap();
    assert_eq!(fake.job(job).status, JobStatus::Success);
}

#[tokio::test]
async fn below_a_path_and_behind_tls() {
    let (fake, token) = world(Release::GITEA);
    let bare = fake.url();
    fake.set_prefix("/git/");
    assert_eq!(fake.url(), format!("{bare}/git"));
    let answer = ask(&fake, &token, Method::GET, "/orgs/acme/actions/jobs?limit=1").await;
    assert_eq!(answer.status, 200);
    fake.queue_jobs("acme/app", &["linux"], 2);
    let answer = ask(&fake, &token, Method::GET, "/orgs/acme/actions/jobs?limit=1").await;
    let next = format!("<{bare}/git/api/v1/orgs/acme/actions/jobs?limit=1&page=2>; rel=\"next\"");
    assert!(answer.header("link").unwrap().starts_with(&next), "{answer:?}");
    assert_eq!(client().get(format!("{bare}/api/v1/version")).send().await.unwrap().status(), 404);
    assert_eq!(client().get(format!("{bare}/gitapi/v1/version")).send().await.unwrap().status(), 404);

    let (fake, pem) = FakeGitea::local_tls(Release::GITEA);
    let url = format!("{}/api/v1/version", fake.url());
    assert!(url.starts_with("https://"));
    assert!(client().get(&url).send().await.is_err(), "nobody trusts it");
    let trusted = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    let trusting = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
    assert_eq!(trusting.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn webhooks_are_lost_doubled_and_forged() {
    let (fake, _) = world(Release::GITEA);
    let inbox = Inbox::new().await;
    fake.webhook(&acme(), &format!("{}/hook", inbox.url), "secret");
    let deliver = async |how: Delivery| {
        fake.deliver_next(1, how);
        let before = inbox.came().len();
        fake.queue_job("acme/app", &["linux"]);
        let waiting = fake.clone();
        tokio::task::spawn_blocking(move || waiting.wait_delivered(SOON)).await.unwrap();
        inbox.came().split_off(before)
    };
    let is_signed = |came: &super::inbox::Came| {
        came.header("x-gitea-signature") == Some(sign("secret", &came.body).as_str())
    };
    assert_eq!(deliver(Delivery::Lost).await.len(), 0);
    let twice = deliver(Delivery::Duplicated).await;
    assert_eq!(twice.len(), 2);
    assert!(twice.iter().all(is_signed));
    assert_eq!(twice[0].header("x-gitea-delivery"), twice[1].header("x-gitea-delivery"));
    assert!(!is_signed(&deliver(Delivery::WrongSignature).await[0]));
    assert_eq!(deliver(Delivery::Unsigned).await[0].header("x-gitea-signature"), None);
    assert_eq!(deliver(Delivery::Huge(2 << 20)).await[0].body.len(), 2 << 20);
    assert_eq!(fake.delivered().last().unwrap().answer, Ok(200));

    for release in [Release::Gitea(Minor::V23), Release::FORGEJO] {
        let (fake, _) = world(release);
        fake.webhook(&acme(), &format!("{}/never", inbox.url), "secret");
        fake.queue_job("acme/app", &["linux"]);
        let waiting = fake.clone();
        tokio::task::spawn_blocking(move || waiting.wait_delivered(SOON)).await.unwrap();
        assert_eq!(fake.delivered(), []);
    }
}

#[tokio::test]
async fn five_thousand_jobs_wait() {
    let (fake, token) = world(Release::GITEA);
    fake.queue_jobs("acme/app", &["linux"], 5000);
    let answer = ask(&fake, &token, Method::GET, "/orgs/acme/actions/jobs?page=100&limit=1000").await;
    assert_eq!(answer.header("x-total-count"), Some("5000"));
    assert_eq!(answer.body["jobs"].as_array().unwrap().len(), 50, "no page is longer");
    assert_eq!(answer.body["jobs"][49]["id"], 5000);
    fake.upgrade(Release::FORGEJO);
    let answer = ask(&fake, &token, Method::GET, "/orgs/acme/actions/runners/jobs?labels=linux").await;
    assert_eq!(answer.body.as_array().unwrap().len(), 5000, "it has no pages");
}

#[tokio::test]
async fn jobs_that_need_others_wait_for_them() {
    use JobStatus::{Blocked, Failure, Skipped, Success, Waiting};
    let (fake, _) = world(Release::GITEA);
    let job = |name: &str| JobRequest::new(name, &["linux"]);
    let jobs =
        vec![job("build"), job("test").needs("build"), job("ship").needs("test"), job("tell").needs("ship")];
    let ids = fake.begin(Workflow::push("acme/app", jobs));
    let statuses = || ids.iter().map(|id| fake.job(*id).status).collect::<Vec<_>>();
    let run = async |outcome| runner(&fake, "next", true).await.one_job(&["linux"], outcome).await.unwrap();
    assert!(run(Outcome::Success).await.is_some());
    assert_eq!(statuses(), [Success, Waiting, Blocked, Blocked]);
    let second = run(Outcome::Failure).await.unwrap();
    assert_eq!(second.message["needs"], json!({"build": {"result": "RESULT_SUCCESS"}}));
    assert_eq!(statuses(), [Success, Failure, Skipped, Skipped]);
}
