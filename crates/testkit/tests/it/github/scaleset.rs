//! The Actions service, with runners that this test plays over the runner's protocol.

use std::time::Duration;

use fireactions_testkit::github::{FakeGithub, JobRequest, Statistics};
use reqwest::Method;
use serde_json::{Value, json};

use super::actions::{Admin, Queue, events, kinds, tell};
use super::client::{assert_clean, world};

#[tokio::test]
async fn a_job_goes_its_way_through_a_scale_set() {
    let (fake, client) = world().await;
    let admin = Admin::new(&fake, &client).await;
    let groups = admin.ask(Method::GET, "runtime/runnergroups/?groupName=default", None).await;
    assert_eq!(
        (&groups.body["count"], &groups.body["value"][0]["isDefaultGroup"]),
        (&json!(1), &json!(true))
    );
    let set = admin.set("vms").await;
    let path = format!("runtime/runnerscalesets/{set}");
    let session = admin.session(set).await;
    assert_eq!(session.status, 200);
    assert_eq!(admin.session(set).await.status, 409);
    assert_eq!(fake.session_owner(set).as_deref(), Some("me"));
    let queue = Queue::new(&admin, session.body);

    let job = fake.queue_job(JobRequest::new("octo/app", &["VMs"], "true"));
    let told = queue.next(0).await;
    assert_eq!((told.status, &told.body["body"]), (200, &json!("")), "no room, no offer");
    assert_eq!(told.body["statistics"]["totalAvailableJobs"], 1);
    assert_eq!(queue.acknowledge(&told).await, 204);
    assert_eq!(queue.next(0).await.status, 202, "nothing is new");
    assert_eq!(fake.statistics(set), Statistics { available: 1, ..Statistics::default() });
    let offered = queue.next(5).await;
    let again = queue.next(5).await;
    assert_eq!(offered.body["messageId"], again.body["messageId"], "until it is acknowledged");
    let event = &events(&offered)[0];
    assert_eq!((&event["messageType"], &event["runnerRequestId"]), (&json!("JobAvailable"), &json!(job.0)));
    assert_eq!((queue.acknowledge(&offered).await, queue.acknowledge(&offered).await), (204, 404));
    let mut acquirer = Admin { client: queue.client.clone(), url: admin.url.clone() };
    let acquire = format!("{path}/acquirejobs");
    let acquired = acquirer.ask(Method::POST, &acquire, Some(json!([job.0, 7]))).await;
    assert_eq!(acquired.body, json!({"count": 1, "value": [job.0]}));
    let none = acquirer.ask(Method::POST, &acquire, Some(json!([job.0]))).await;
    assert_eq!(none.body["count"], 0, "nobody acquires it twice");
    assert_eq!(kinds(&queue.events(5).await), ["JobAssigned"]);
    assert_eq!(fake.statistics(set), Statistics { assigned: 1, ..Statistics::default() });

    let wanted = json!({"name": "vm-1", "workFolder": "_work"});
    let minted = admin.ask(Method::POST, &format!("{path}/generatejitconfig"), Some(wanted.clone())).await;
    assert_eq!((minted.status, &minted.body["runner"]["runnerScaleSetId"]), (200, &json!(set)));
    let taken = admin.ask(Method::POST, &format!("{path}/generatejitconfig"), Some(wanted)).await;
    assert!(taken.body["typeName"].as_str().unwrap().contains("AgentExistsException"), "{taken:?}");
    let agents = admin.ask(Method::GET, "distributedtask/pools/0/agents?agentName=vm-1", None).await;
    let agent = agents.body["value"][0]["id"].as_u64().unwrap();
    let config = minted.body["encodedJITConfig"].as_str().unwrap();
    assert_eq!(tell(config, "online", "").await, "ok");
    assert!(tell(config, "wait", "").await.starts_with(&format!("job={job}\n")));
    let started = queue.events(5).await;
    assert_eq!((kinds(&started), &started[0]["runnerName"]), (vec!["JobStarted"], &json!("vm-1")));
    let stands = Statistics { assigned: 1, running: 1, registered: 1, busy: 1, ..Statistics::default() };
    assert_eq!(fake.statistics(set), stands);
    let agent = format!("distributedtask/pools/0/agents/{agent}");
    let busy = admin.ask(Method::DELETE, &agent, None).await;
    assert!(busy.body["typeName"].as_str().unwrap().contains("JobStillRunningException"));
    tell(config, "completed", "result=Succeeded").await;
    let completed = queue.events(5).await;
    assert_eq!((kinds(&completed), &completed[0]["result"]), (vec!["JobCompleted"], &json!("succeeded")));
    assert_eq!(fake.statistics(set), Statistics::default());
    let gone = admin.ask(Method::GET, &agent, None).await;
    assert!(gone.body["typeName"].as_str().unwrap().contains("AgentNotFoundException"));
    assert_eq!(fake.job(job).runs(), 1);

    let session = format!("{path}/sessions/{}", queue.session["sessionId"].as_str().unwrap());
    acquirer.client = admin.client.clone();
    assert_eq!(acquirer.ask(Method::DELETE, &session, None).await.status, 204);
    assert_eq!(queue.next(5).await.status, 401);
    assert_eq!(admin.ask(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(admin.ask(Method::GET, &path, None).await.status, 404);
    assert_clean(&fake);
}

#[tokio::test]
async fn sets_are_found_changed_and_do_not_take_more_than_there_is_room_for() {
    let (fake, client) = world().await;
    let admin = Admin::new(&fake, &client).await;
    let set = admin.set("vms").await;
    let again = json!({"name": "vms", "runnerGroupId": 1});
    assert_eq!(admin.ask(Method::POST, "runtime/runnerscalesets", Some(again)).await.status, 409);
    let found = admin.ask(Method::GET, "runtime/runnerscalesets?runnerGroupId=1&name=vms", None).await;
    assert_eq!((&found.body["count"], &found.body["value"][0]["id"]), (&json!(1), &json!(set)));
    assert_eq!(found.body["value"][0]["RunnerSetting"]["disableUpdate"], true);
    let change = json!({"labels": [{"name": "big", "type": "System"}, {"name": "vms", "type": "System"}]});
    let changed = admin.ask(Method::PATCH, &format!("runtime/runnerscalesets/{set}"), Some(change)).await;
    assert_eq!(changed.body["labels"][0]["name"], "big");

    let jobs: Vec<_> =
        (0..3).map(|_| fake.queue_job(JobRequest::new("octo/app", &["big", "vms"], "true"))).collect();
    let queue = Queue::new(&admin, admin.session(set).await.body);
    let offered = queue.events(2).await;
    let ids: Vec<&Value> = offered.iter().map(|event| &event["runnerRequestId"]).collect();
    assert_eq!(ids, [&json!(jobs[0].0), &json!(jobs[1].0)]);
    let told = queue.next(2).await;
    assert!(told.status == 202 || events(&told).is_empty(), "two have room, the third waits: {told:?}");
    assert_eq!(kinds(&queue.events(3).await), ["JobAvailable"]);
    // A session that ends with offers that were acknowledged and not acquired: the next one gets them again.
    let path =
        format!("runtime/runnerscalesets/{set}/sessions/{}", queue.session["sessionId"].as_str().unwrap());
    assert_eq!(admin.ask(Method::DELETE, &path, None).await.status, 204);
    let queue = Queue::new(&admin, admin.session(set).await.body);
    assert_eq!(queue.events(3).await.len(), 3);
    fake.cancel_job(jobs[0]);
    let told = queue.events(3).await;
    assert_eq!((kinds(&told), &told[0]["result"]), (vec!["JobCompleted"], &json!("canceled")));
    assert_clean(&fake);
}

const QUEUE: &str = "GET /_actions/_message/{id}";

/// Waits until the queue is asked more often than so.
async fn asked_again(fake: &FakeGithub, before: u64) {
    while fake.calls().of(QUEUE) == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn tokens_run_out_in_the_middle_of_a_question() {
    let (fake, client) = world().await;
    let admin = Admin::new(&fake, &client).await;
    let set = admin.set("vms").await;
    fake.set_message_poll(Duration::from_secs(30));
    let queue = Queue::new(&admin, admin.session(set).await.body);
    let later = fake.clone();
    let asked = fake.calls().of(QUEUE);
    let expire = async {
        asked_again(&later, asked).await;
        later.expire_queue_token(set);
    };
    let (answer, ()) = tokio::join!(queue.next(1), expire);
    assert_eq!(answer.status, 401);
    let path =
        format!("runtime/runnerscalesets/{set}/sessions/{}", queue.session["sessionId"].as_str().unwrap());
    let refreshed = admin.ask(Method::PATCH, &path, None).await;
    assert_eq!(refreshed.body["sessionId"], queue.session["sessionId"]);
    assert_ne!(refreshed.body["messageQueueAccessToken"], queue.session["messageQueueAccessToken"]);
    let queue = Queue::new(&admin, refreshed.body);
    // GitHub goes down under a question.
    let asked = fake.calls().of(QUEUE);
    let down = async {
        asked_again(&later, asked).await;
        later.down(Duration::from_secs(3600));
    };
    let url = queue.session["messageQueueUrl"].as_str().unwrap();
    let ask = queue.client.http.get(url).header("accept", "application/json; api-version=6.0-preview");
    let ask = ask.header("authorization", queue.client.authorization.clone().unwrap());
    let (answer, ()) = tokio::join!(ask.header("X-ScaleSetMaxCapacity", "1").send(), down);
    assert!(answer.is_err());
    fake.clear_faults();
    fake.set_bom(true);
    let found =
        queue.client.http.get(format!("{}/_apis/runtime/runnerscalesets?api-version=6.0-preview", admin.url));
    let found =
        found.header("authorization", admin.client.authorization.clone().unwrap()).send().await.unwrap();
    assert!(found.bytes().await.unwrap().starts_with(b"\xef\xbb\xbf{"));
    fake.drop_session(set);
    assert_eq!(admin.ask(Method::PATCH, &path, None).await.status, 404);
    fake.expire_admin_tokens();
    assert_eq!(admin.ask(Method::GET, "runtime/runnerscalesets", None).await.status, 401);
    assert_clean(&fake);
}
