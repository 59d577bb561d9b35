//! Runners, runs and jobs over REST.

use std::time::{Duration, Instant};

use fireactions_testkit::github::{JobRequest, JobStatus, RunnerFate, Scope};
use serde_json::json;

use super::client::{assert_clean, world};

#[tokio::test]
async fn runners_are_minted_listed_by_page_and_deleted() {
    let (fake, client) = world().await;
    fake.set_lists_behind(Duration::ZERO);
    let minted = client.jit("/orgs/octo", "r0", &["self-hosted", "linux", "gpu"]).await;
    assert_eq!(minted.status, 201);
    assert_eq!(minted.body["runner"]["status"], "offline");
    assert!(!minted.body["encoded_jit_config"].as_str().unwrap().is_empty());
    for name in ["r1", "r2", "r3", "r4"] {
        assert_eq!(client.jit("/orgs/octo", name, &["linux"]).await.status, 201);
    }
    assert_eq!(client.jit("/orgs/octo", "r1", &["linux"]).await.status, 409);
    assert_eq!(client.jit("/repos/octo/app", "r1", &["linux"]).await.status, 201, "another scope");
    let group = json!({"name": "r9", "runner_group_id": 77, "labels": ["linux"]});
    assert_eq!(client.post("/orgs/octo/actions/runners/generate-jitconfig", Some(&group)).await.status, 404);
    assert_eq!(client.jit("/orgs/octo", "bad name", &["linux"]).await.status, 422);
    let own = fake.runner_group(&Scope::Organization("octo".into()), "big");
    let group = json!({"name": "r9", "runner_group_id": own, "labels": ["linux"]});
    let minted = client.post("/orgs/octo/actions/runners/generate-jitconfig", Some(&group)).await;
    assert_eq!(minted.body["runner"]["runner_group_id"], own);
    assert_clean(&fake);

    let page = client.get("/orgs/octo/actions/runners?per_page=4").await;
    assert_eq!(page.body["total_count"], 6);
    assert_eq!(page.body["runners"].as_array().unwrap().len(), 4);
    let link = page.header("link").to_owned();
    let next = link.split(", ").find(|link| link.ends_with("rel=\"next\"")).unwrap();
    let next = next.trim_start_matches('<').split('>').next().unwrap();
    let page = client.get(next).await;
    let names: Vec<&str> =
        page.body["runners"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["r4", "r9"]);
    assert!(!page.header("link").contains("next"));

    let id = &page.body["runners"][0]["id"];
    let path = format!("/orgs/octo/actions/runners/{id}");
    assert_eq!(client.get(&path).await.body["name"], "r4");
    assert_eq!(client.delete(&path).await.status, 204);
    assert_eq!(client.get(&path).await.status, 404);
    assert_eq!(client.delete(&path).await.status, 404);
    let gone = fake.all_runners().into_iter().find(|runner| runner.name == "r4").unwrap();
    assert_eq!(gone.fate, Some(RunnerFate::Deleted));
    fake.expire_jit("r1");
    assert_eq!(client.jit("/orgs/octo", "r1", &["linux"]).await.status, 201, "the name is free again");
    assert_eq!(fake.calls().of("DELETE /orgs/{org}/actions/runners/{runner_id}"), 2);
    assert_eq!(client.post("/orgs/octo/actions/runners/registration-token", None).await.status, 201);
    assert_clean(&fake);
}

#[tokio::test]
async fn queued_jobs_are_found_through_their_runs() {
    let (fake, client) = world().await;
    fake.set_lists_behind(Duration::ZERO);
    let one = JobRequest::new("octo/app", &["self-hosted", "gpu"], "true");
    let jobs = fake.queue_run(vec![one.clone(), one.clone().named("second")]);
    let alone = fake.queue_job(one);
    let runs = client.get("/repos/octo/app/actions/runs?status=queued&per_page=100").await;
    assert_eq!(runs.body["total_count"], 2);
    let run = fake.job(jobs[0]).run_id;
    let found = client.get(&format!("/repos/octo/app/actions/runs/{run}/jobs?filter=latest")).await;
    assert_eq!(found.body["total_count"], 2);
    assert_eq!(found.body["jobs"][1]["name"], "second");
    let path = format!("/repos/octo/app/actions/jobs/{alone}");
    assert_eq!(client.get(&path).await.body["status"], "queued");

    let tag = client.get("/repos/octo/app/actions/runs?status=queued").await.header("etag").to_owned();
    let again = |tag: String| {
        client
            .request(reqwest::Method::GET, "/repos/octo/app/actions/runs?status=queued")
            .header("if-none-match", tag)
    };
    let before = client.get("/rate_limit").await.body["rate"]["remaining"].clone();
    assert_eq!(again(tag.clone()).send().await.unwrap().status(), 304);
    assert_eq!(client.get("/rate_limit").await.body["rate"]["remaining"], before, "a 304 is free");
    fake.cancel_job(alone);
    assert_eq!(fake.job(alone).status, JobStatus::Completed);
    assert_eq!(again(tag).send().await.unwrap().status(), 200);
    assert_eq!(client.get(&path).await.body["conclusion"], "cancelled");
    assert_eq!(client.get("/repos/octo/app/actions/runs?status=completed").await.body["total_count"], 1);
    assert_clean(&fake);
}

#[tokio::test]
async fn lists_show_what_was_true_a_moment_ago() {
    let (fake, client) = world().await;
    let minted = client.jit("/orgs/octo", "r1", &["linux"]).await;
    let runner = format!("/orgs/octo/actions/runners/{}", minted.body["runner"]["id"]);
    let job = fake.queue_job(JobRequest::new("octo/app", &["gpu"], "true"));
    let run = format!("/repos/octo/app/actions/runs/{}/jobs", fake.job(job).run_id);
    let counts = async || {
        let runners = client.get("/orgs/octo/actions/runners").await.body["total_count"].clone();
        let runs = client.get("/repos/octo/app/actions/runs?status=queued").await.body["total_count"].clone();
        [runners, runs].map(|count| count.as_u64().unwrap())
    };
    // Long enough that no test is slow enough to see its end by itself.
    fake.set_lists_behind(Duration::from_secs(3600));
    assert_eq!(counts().await, [0, 0], "not yet");
    assert_eq!(client.get(&run).await.status, 404);
    assert_eq!(client.get(&runner).await.status, 200, "what is asked for itself is there");
    fake.set_lists_behind(Duration::ZERO);
    assert_eq!(counts().await, [1, 1]);
    fake.set_lists_behind(Duration::from_millis(400));
    while counts().await != [1, 1] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let changed = Instant::now();
    assert_eq!(client.delete(&runner).await.status, 204);
    fake.cancel_job(job);
    while counts().await != [0, 0] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(changed.elapsed() >= Duration::from_millis(400), "still, for a while");
    assert_eq!(client.get(&runner).await.status, 404);
    assert_eq!(client.get(&run).await.body["jobs"][0]["status"], "completed");
    assert_clean(&fake);
}

#[tokio::test]
async fn what_is_not_described_is_a_violation() {
    let (fake, client) = world().await;
    if !fake.is_held_to_the_description() {
        return;
    }
    let body = json!({"name": "r", "runner_group_id": 1, "labels": ["a"], "workfolder": "x"});
    client.post("/orgs/octo/actions/runners/generate-jitconfig", Some(&body)).await;
    client.get("/orgs/octo/actions/runners?perpage=3").await;
    client.get("/orgs/octo/runners").await;
    let said = fake.violations();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[0].contains("workfolder") && said[1].contains("perpage") && said[2].contains("not described")
    );
}

#[tokio::test]
async fn a_renamed_organization_is_found_by_its_id() {
    let (fake, client) = world().await;
    fake.set_lists_behind(Duration::ZERO);
    client.jit("/orgs/octo", "r1", &["linux"]).await;
    fake.rename_organization("octo", "squid");
    for path in ["/orgs/octo/actions/runners?per_page=5", "/repos/octo/app/actions/runs"] {
        let moved = client.get(path).await;
        assert_eq!(moved.status, 301);
        let to = moved.header("location").to_owned();
        assert_eq!(moved.body["url"], to);
        assert_eq!(client.get(&to).await.status, 200, "{to}");
    }
    assert_eq!(client.jit("/orgs/octo", "r2", &["linux"]).await.status, 307);
    assert_eq!(client.get("/orgs/squid/actions/runners").await.body["total_count"], 1);
    assert_clean(&fake);
}
