//! A client of the Actions service: its administrator, and a session's queue.

use std::sync::atomic::{AtomicU64, Ordering};

use fireactions_testkit::github::FakeGithub;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Answer, Client, decoded};

/// An administrator of the Actions service.
pub(crate) struct Admin {
    pub(crate) client: Client,
    pub(crate) url: String,
}

impl Admin {
    pub(crate) async fn new(fake: &FakeGithub, client: &Client) -> Self {
        let token = client.post("/orgs/octo/actions/runners/registration-token", None).await.body;
        let remote = Some(format!("RemoteAuth {}", token["token"].as_str().unwrap()));
        let body = json!({"url": format!("{}/octo", fake.url()), "runner_event": "register"});
        let answer = Client::new(fake, remote).post("/actions/runner-registration", Some(&body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let token = answer.body["token"].as_str().unwrap();
        let client = Client::new(fake, Some(format!("Bearer {token}")));
        Self { client, url: answer.body["url"].as_str().unwrap().trim_end_matches('/').to_owned() }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let more = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}/_apis/{path}{more}api-version=6.0-preview", self.url);
        let request = self.client.request(method, &url);
        let request = if let Some(body) = &body { request.json(body) } else { request };
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn set(&self, name: &str) -> u64 {
        let body = json!({"name": name, "runnerGroupId": 1, "labels": [{"name": name, "type": "System"}],
            "RunnerSetting": {"disableUpdate": true}});
        let made = self.ask(Method::POST, "runtime/runnerscalesets", Some(body)).await;
        assert_eq!(made.status, 200, "{made:?}");
        made.body["id"].as_u64().unwrap()
    }

    pub(crate) async fn session(&self, set: u64) -> Answer {
        let path = format!("runtime/runnerscalesets/{set}/sessions");
        self.ask(Method::POST, &path, Some(json!({"ownerName": "me"}))).await
    }
}

/// A session's queue.
pub(crate) struct Queue {
    pub(crate) client: Client,
    pub(crate) session: Value,
    /// The last message that was acknowledged.
    pub(crate) last: AtomicU64,
}

impl Queue {
    pub(crate) fn new(admin: &Admin, session: Value) -> Self {
        let mut client = admin.client.clone();
        client.authorization =
            Some(format!("Bearer {}", session["messageQueueAccessToken"].as_str().unwrap()));
        Self { client, session, last: AtomicU64::new(0) }
    }

    /// The next message.
    pub(crate) async fn next(&self, capacity: u32) -> Answer {
        self.next_after(self.last.load(Ordering::Relaxed), capacity).await
    }

    /// The first message after this one.
    pub(crate) async fn next_after(&self, last: u64, capacity: u32) -> Answer {
        let url = self.session["messageQueueUrl"].as_str().unwrap();
        let after = if last > 0 { format!("&lastMessageId={last}") } else { String::new() };
        self.ask(&format!("{url}{after}"), capacity).await
    }

    pub(crate) async fn ask(&self, url: &str, capacity: u32) -> Answer {
        let mut request =
            self.client.http.get(url).header("accept", "application/json; api-version=6.0-preview");
        request = request.header("authorization", self.client.authorization.clone().unwrap());
        let request = request.header("X-ScaleSetMaxCapacity", capacity.to_string());
        Answer::of(request.send().await.unwrap()).await
    }

    /// The events of the next message that has some. It is acknowledged, as are those before it, which tell statistics
    /// alone.
    pub(crate) async fn events(&self, capacity: u32) -> Vec<Value> {
        loop {
            let message = self.next(capacity).await;
            assert_eq!(message.status, 200, "{message:?}");
            assert_eq!(self.acknowledge(&message).await, 204);
            let events = events(&message);
            if !events.is_empty() {
                return events;
            }
        }
    }

    pub(crate) async fn acknowledge(&self, message: &Answer) -> u16 {
        let (path, query) = self.session["messageQueueUrl"].as_str().unwrap().split_once('?').unwrap();
        let id = message.body["messageId"].as_u64().unwrap();
        self.last.fetch_max(id, Ordering::Relaxed);
        self.client.delete(&format!("{path}/{id}?{query}")).await.status
    }
}

pub(crate) fn events(message: &Answer) -> Vec<Value> {
    assert_eq!(message.body["messageType"], "RunnerScaleSetJobMessages");
    match message.body["body"].as_str().unwrap() {
        "" => Vec::new(),
        body => serde_json::from_str(body).unwrap(),
    }
}

pub(crate) fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["messageType"].as_str().unwrap()).collect()
}

/// A runner's word to the fake.
pub(crate) async fn tell(config: &str, what: &str, more: &str) -> String {
    let config = decoded(config);
    let (url, token) = (config["url"].as_str().unwrap(), config["token"].as_str().unwrap());
    let body = format!("token={token}&nonce=1&{more}");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.post(format!("{url}/{what}")).body(body).send().await.unwrap().text().await.unwrap()
}
