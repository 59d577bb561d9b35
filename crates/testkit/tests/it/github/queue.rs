//! A scale set's message queue: what is told when, to whom, and how often.

use std::time::Duration;

use fireactions_testkit::github::{FakeGithub, JobId, JobRequest};
use reqwest::Method;
use serde_json::{Value, json};

use super::actions::{Admin, Queue, events, kinds};
use super::client::{Answer, assert_clean, world};

/// A set with a session whose listener has room for five.
async fn listening() -> (FakeGithub, Admin, u64, Queue) {
    let (fake, client) = world().await;
    fake.set_message_poll(Duration::from_millis(50));
    let admin = Admin::new(&fake, &client).await;
    let set = admin.set("vms").await;
    let queue = Queue::new(&admin, admin.session(set).await.body);
    assert_eq!(queue.next(5).await.status, 202);
    (fake, admin, set, queue)
}

fn job(fake: &FakeGithub) -> JobId {
    fake.queue_job(JobRequest::new("octo/app", &["vms"], "true"))
}

async fn acquire(queue: &Queue, admin: &Admin, set: u64, job: JobId) {
    let by_queue = Admin { client: queue.client.clone(), url: admin.url.clone() };
    let path = format!("runtime/runnerscalesets/{set}/acquirejobs");
    let acquired = by_queue.ask(Method::POST, &path, Some(json!([job.0]))).await;
    assert_eq!(acquired.body["count"], 1);
}

/// A message's number, and the available and the assigned jobs that it tells.
fn told(message: &Answer) -> (u64, [u64; 2]) {
    assert_eq!(message.status, 200, "{message:?}");
    let number = |of: &Value| of.as_u64().unwrap();
    let statistics = &message.body["statistics"];
    let jobs = ["totalAvailableJobs", "totalAssignedJobs"].map(|name| number(&statistics[name]));
    (number(&message.body["messageId"]), jobs)
}

#[tokio::test]
async fn a_message_that_is_told_again_tells_what_was_true_when_it_was_written() {
    let (fake, admin, set, queue) = listening().await;
    let job = job(&fake);
    let first = queue.next_after(0, 5).await;
    let (id, stands) = told(&first);
    assert_eq!(stands, [1, 0]);
    acquire(&queue, &admin, set, job).await;
    assert_eq!(fake.statistics(set).assigned, 1);
    assert_eq!(queue.next_after(0, 5).await.body, first.body, "the same to the letter");
    // What is true now, the next one tells.
    let next = queue.next_after(id, 5).await;
    assert_eq!((kinds(&events(&next)), told(&next).1), (vec!["JobAssigned"], [0, 1]));
    assert_clean(&fake);
}

#[tokio::test]
async fn messages_that_wait_for_their_reader_each_tell_their_own_moment() {
    let (fake, _, _, queue) = listening().await;
    for _ in 0..3 {
        job(&fake);
    }
    let mut last = 0;
    for available in 1..=3 {
        let message = queue.next_after(last, 5).await;
        let (id, stands) = told(&message);
        assert_eq!((events(&message).len(), stands), (1, [available, 0]));
        last = id;
    }
    assert_eq!(queue.next_after(last, 5).await.status, 202);
    assert_clean(&fake);
}

#[tokio::test]
async fn a_run_of_many_jobs_is_told_in_messages_of_fifty() {
    let (fake, _, _, queue) = listening().await;
    queue.next(200).await;
    let jobs = (0..120).map(|n| JobRequest::new("octo/app", &["vms"], "true").named(&n.to_string()));
    fake.queue_run(jobs.collect());
    let told = [queue.events(200).await.len(), queue.events(200).await.len(), queue.events(200).await.len()];
    assert_eq!(told, [50, 50, 20]);
    assert_clean(&fake);
}

#[tokio::test]
async fn the_last_message_that_is_named_is_not_told_again_and_without_one_all_are() {
    let (fake, _, _, queue) = listening().await;
    job(&fake);
    let (first, _) = told(&queue.next_after(0, 5).await);
    job(&fake);
    let (second, _) = told(&queue.next_after(first, 5).await);
    assert!(second > first);
    assert_eq!(queue.next_after(second, 5).await.status, 202, "neither is acknowledged, and neither comes");
    assert_eq!(told(&queue.next_after(0, 5).await).0, first);
    assert_eq!(fake.violations(), Vec::<String>::new());
    queue.next_after(second + 1, 5).await;
    assert!(fake.violations()[0].contains("was never sent"), "{:?}", fake.violations());
}

#[tokio::test]
async fn a_queue_answers_its_session_alone() {
    let (fake, admin, set, queue) = listening().await;
    job(&fake);
    let url = queue.session["messageQueueUrl"].as_str().unwrap().to_owned();
    let (path, _) = url.split_once('?').unwrap();
    let other = format!("{path}?sessionId=00000000-0000-4000-8000-000000000000");
    for odd in [path, &other] {
        let refused = queue.ask(odd, 5).await;
        assert_eq!(refused.status, 404, "{refused:?}");
        assert!(refused.body["typeName"].as_str().unwrap().contains("SessionNotFound"), "{refused:?}");
    }
    let (id, _) = told(&queue.next(5).await);
    assert_eq!(queue.client.delete(&format!("{path}/{id}")).await.status, 404);
    assert_eq!(told(&queue.next(5).await).0, id, "it was not acknowledged");
    // Of an earlier session not even with the new one's address.
    fake.drop_session(set);
    let fresh = Queue::new(&admin, admin.session(set).await.body);
    let address = fresh.session["messageQueueUrl"].as_str().unwrap();
    assert_eq!(queue.ask(address, 5).await.status, 401);
    let again = fresh.next(5).await;
    assert_eq!((again.status, told(&again).0), (200, id), "what nobody acknowledged outlives its session");
    assert_clean(&fake);
}

#[tokio::test]
async fn what_changes_without_an_event_is_told_by_statistics_alone() {
    let (fake, admin, set, queue) = listening().await;
    let wanted = json!({"name": "vm-1", "workFolder": "_work"});
    let path = format!("runtime/runnerscalesets/{set}/generatejitconfig");
    admin.ask(Method::POST, &path, Some(wanted)).await;
    let message = queue.next(5).await;
    assert_eq!((message.status, &message.body["body"]), (200, &json!("")));
    assert_eq!(message.body["statistics"]["totalRegisteredRunners"], 1);
    assert_eq!(queue.next(5).await.body, message.body, "until it is acknowledged");
    assert_eq!(queue.acknowledge(&message).await, 204);
    assert_eq!(queue.next(5).await.status, 202);
    assert_clean(&fake);
}
