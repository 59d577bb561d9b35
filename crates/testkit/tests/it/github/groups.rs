//! Runner groups: whose jobs their runners get.

use fireactions_testkit::github::{JobRequest, JobStatus, Scope};
use serde_json::{Value, json};

use super::actions::{Admin, Queue, kinds, tell};
use super::client::{Answer, SOON, assert_clean, world};

fn octo() -> Scope {
    Scope::Organization("octo".into())
}

fn names(groups: &Answer) -> Vec<&str> {
    groups.body["runner_groups"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_group_serves_the_repositories_that_were_selected_for_it() {
    let (fake, client) = world().await;
    fake.repository("octo/secret");
    let group = fake.runner_group(&octo(), "few");
    fake.select_group_repositories(&octo(), group, &["octo/app"]);
    let groups = "/orgs/octo/actions/runner-groups";
    let few = client.get(&format!("{groups}/{group}")).await.body;
    assert_eq!(few["visibility"], "selected");
    let selected = client.get(few["selected_repositories_url"].as_str().unwrap()).await.body;
    assert_eq!((&selected["total_count"], &selected["repositories"][0]["name"]), (&json!(1), &json!("app")));
    assert_eq!(names(&client.get(&format!("{groups}?visible_to_repository=app")).await), ["Default", "few"]);
    assert_eq!(names(&client.get(&format!("{groups}?visible_to_repository=secret")).await), ["Default"]);

    let body = json!({"name": "r1", "runner_group_id": group, "labels": ["linux"]});
    let minted = client.post("/orgs/octo/actions/runners/generate-jitconfig", Some(&body)).await;
    let config = minted.body["encoded_jit_config"].as_str().unwrap();
    assert_eq!(tell(config, "online", "").await, "ok");
    let secret = fake.queue_job(JobRequest::new("octo/secret", &["linux"], "true"));
    let open = fake.queue_job(JobRequest::new("octo/app", &["linux"], "true"));
    assert_eq!(fake.job(open).runner_name(), Some("r1"), "the younger one");
    assert_eq!((fake.job(secret).status, fake.job(secret).assignments.len()), (JobStatus::Queued, 0));
    assert_clean(&fake);
}

#[tokio::test]
async fn public_repositories_are_for_groups_that_allow_them() {
    let (fake, client) = world().await;
    fake.publish("octo/app");
    let repositories = client.get("/installation/repositories").await;
    assert_eq!(repositories.body["repositories"][0]["private"], false);
    let config = client.jit("/orgs/octo", "r1", &["linux"]).await.body["encoded_jit_config"].clone();
    assert_eq!(tell(config.as_str().unwrap(), "online", "").await, "ok");
    let job = fake.queue_job(JobRequest::new("octo/app", &["linux"], "true"));
    assert_eq!(fake.job(job).assignments, []);
    let groups = "/orgs/octo/actions/runner-groups";
    assert_eq!(names(&client.get(&format!("{groups}?visible_to_repository=app")).await), Vec::<&str>::new());
    fake.allow_public_repositories(&octo(), 1);
    assert_eq!(fake.job(job).runner_name(), Some("r1"));
    let group = client.get(&format!("{groups}/1")).await;
    assert_eq!(group.body["allows_public_repositories"], true);
    assert_clean(&fake);
}

#[tokio::test]
async fn a_scale_set_is_of_its_group() {
    let (fake, client) = world().await;
    fake.repository("octo/secret");
    let admin = Admin::new(&fake, &client).await;
    let group = fake.runner_group(&octo(), "few");
    fake.select_group_repositories(&octo(), group, &["octo/app"]);
    let body = |group: Value| json!({"name": "vms", "runnerGroupId": group, "labels": []});
    let ask = |body| admin.ask(reqwest::Method::POST, "runtime/runnerscalesets", Some(body));
    assert_eq!(ask(body(json!(77))).await.status, 404, "no such group");
    let set = ask(body(json!(group))).await.body["id"].as_u64().unwrap();
    let queue = Queue::new(&admin, admin.session(set).await.body);
    let secret = fake.queue_job(JobRequest::new("octo/secret", &["vms"], "true"));
    fake.queue_job(JobRequest::new("octo/app", &["vms"], "true"));
    assert_eq!(kinds(&queue.events(5).await), ["JobAvailable"]);
    assert_eq!(fake.statistics(set).available, 1, "the other is not the set's");
    fake.select_group_repositories(&octo(), group, &["octo/app", "octo/secret"]);
    assert_eq!(fake.statistics(set).available, 2);
    fake.cancel_job(secret);
    fake.wait_completed(secret, SOON);
    assert_clean(&fake);
}
