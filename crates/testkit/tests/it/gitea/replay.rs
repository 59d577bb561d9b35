//! What was recorded of a real server, asked of the fake.

use std::collections::BTreeMap;

use fireactions_testkit::gitea::{FakeGitea, JobId, JobRequest, Release, Workflow};
use fireactions_testkit::recordings;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::likeness::Names;

/// Headers that a client may look at. What was not recorded of these must not be there.
const HEADERS: [&str; 4] = ["content-type", "link", "x-total-count", "access-control-expose-headers"];

/// A fake beside the recordings of the server that it is.
pub(crate) struct Stage {
    pub(crate) fake: FakeGitea,
    pub(crate) names: Names,
    files: BTreeMap<String, Value>,
    /// What was not alike so far.
    differences: Vec<String>,
    /// How many answers were compared.
    compared: usize,
    client: reqwest::Client,
    /// How many rows of its log the runner that plays had sent.
    rows: u64,
}

impl Stage {
    /// The people of the recordings; nothing when there are no recordings.
    pub(crate) fn new(test: &str, server: &str, release: Release, base: &str) -> Option<Self> {
        let files = recordings::files(test, server)?.into_iter().collect();
        let fake = FakeGitea::local(release);
        fake.site_admin("boss");
        fake.user("bob");
        fake.organization("acme", "boss");
        fake.repository("acme/app");
        fake.repository("bob/tool");
        let mut names = Names::default();
        names.host(base, &fake.url());
        for (name, user, scope) in [
            ("<ADMIN_TOKEN>", "boss", "all"),
            ("<BOB_ALL_TOKEN>", "bob", "all"),
            ("<BOB_READ_REPO_TOKEN>", "bob", "read:repository"),
            ("<BOSS_ORG_READ_TOKEN>", "boss", "read:organization"),
            ("<BOSS_ORG_WRITE_TOKEN>", "boss", "write:organization"),
            ("<BOSS_ADMIN_READ_TOKEN>", "boss", "read:admin"),
        ] {
            names.bind(name, &fake.token(user, &[scope]));
        }
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let client = client.build().unwrap();
        let (differences, compared, rows) = (Vec::new(), 0, 0);
        Some(Self { fake, names, files, differences, compared, client, rows })
    }

    /// It is the time at which something was made in a recording: runners tell times of then.
    pub(crate) fn set_clock(&self, begin: &str) {
        let recorded = self.look(begin);
        let one = recorded.pointer("/exchange/0").unwrap_or(recorded);
        self.it_is(one["response"]["body"]["created_at"].as_str().unwrap());
    }

    fn it_is(&self, then: &str) {
        let then: Timestamp = then.parse().unwrap();
        self.fake.set_clock_offset(then.duration_since(Timestamp::now()));
    }

    /// The recording whose name begins like this; each is taken once.
    pub(crate) fn take(&mut self, begin: &str) -> (String, Value) {
        let begin = format!("{begin}-");
        let name = self.files.keys().find(|name| name.starts_with(&begin)).cloned();
        let name = name.unwrap_or_else(|| panic!("there is no recording {begin}"));
        self.files.remove_entry(&name).unwrap()
    }

    /// The same without taking it.
    pub(crate) fn look(&self, begin: &str) -> &Value {
        let begin = format!("{begin}-");
        let found = self.files.iter().find(|(name, _)| name.starts_with(&begin));
        found.unwrap_or_else(|| panic!("there is no recording {begin}")).1
    }

    /// Takes something out of a recording that the fake does not have.
    pub(crate) fn change(&mut self, begin: &str, change: impl FnOnce(&mut Value)) {
        let begin = format!("{begin}-");
        let found = self.files.iter_mut().find(|(name, _)| name.starts_with(&begin));
        change(found.unwrap_or_else(|| panic!("there is no recording {begin}")).1);
    }

    /// Asks and compares all that was recorded there.
    pub(crate) async fn play(&mut self, begin: &str) {
        self.play_until(begin, usize::MAX, |_| ()).await;
    }

    /// The same; something happens before the exchange of this number, which is the last one when it is too large.
    pub(crate) async fn play_until(&mut self, begin: &str, at: usize, then: impl FnOnce(&FakeGitea)) {
        let (file, recorded) = self.take(begin);
        let exchanges = recorded["exchange"].as_array().cloned().unwrap_or_else(|| vec![recorded]);
        let mut then = Some(then);
        self.rows = 0;
        let told = |exchange: &Value| {
            let places = ["/request/body/rows/0/time", "/request/body/state/startedAt"];
            places.iter().find_map(|place| exchange.pointer(place)?.as_str().map(ToOwned::to_owned))
        };
        if let Some(began) = exchanges.iter().find_map(told) {
            self.it_is(&began);
        }
        for (n, exchange) in exchanges.iter().enumerate() {
            if n == at.min(exchanges.len() - 1)
                && let Some(then) = then.take()
            {
                then(&self.fake);
            }
            let at = format!("{file} #{n}");
            if exchange.is_string() {
                // Cut out of the recording: the fake is told what leads to the next answer.
                self.bridge(&exchanges[n + 1..]).await;
                continue;
            }
            let times = exchange["repeated"].as_u64().unwrap_or(1);
            for _ in 0..times {
                self.exchange(&at, exchange).await;
            }
        }
    }

    async fn exchange(&mut self, at: &str, exchange: &Value) {
        let (request, recorded) = (&exchange["request"], &exchange["response"]);
        let answer = self.ask(request).await;
        let status = recorded["status"].as_u64().unwrap();
        self.names.next();
        self.compared += 1;
        let mut found = Vec::new();
        if u64::from(answer.status) != status {
            found.push(format!("status: recorded {status}, got {}: {}", answer.status, answer.body));
        }
        for name in HEADERS {
            let fields = recorded["headers"].as_object().unwrap();
            let there = fields.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
            let there = there.map(|(_, value)| self.names.translate(value.as_str().unwrap()));
            let here = answer.header(name);
            // The runner protocol is spoken in JSON here.
            let is_protobuf = there.as_deref() == Some("application/proto");
            let there = if is_protobuf { Some("application/json".to_owned()) } else { there };
            if there.as_deref() != here {
                found.push(format!("header {name}: recorded {there:?}, got {here:?}"));
            }
        }
        let body = &recorded["body"];
        // A text that was cut into its lines.
        let is_lines =
            body.is_array() && answer.header("content-type").is_some_and(|kind| kind.starts_with("text/"));
        let here = match &answer.body {
            Value::String(text) if is_lines => text.split('\n').collect(),
            other => other.clone(),
        };
        found.extend(self.names.differences(body, &here));
        if let Some(rows) = answer.body["ackIndex"].as_str() {
            self.rows = rows.parse().unwrap();
        }
        self.differences.extend(found.into_iter().map(|why| format!("{at}: {why}")));
    }

    /// Asks the fake what was asked there.
    pub(crate) async fn ask(&self, request: &Value) -> Answer {
        let method = Method::from_bytes(request["method"].as_str().unwrap().as_bytes()).unwrap();
        let path = self.names.translate(request["path"].as_str().unwrap());
        let mut asked = self.client.request(method.clone(), format!("{}{path}", self.fake.url()));
        let mut is_json = false;
        for (name, value) in request["headers"].as_object().unwrap() {
            let value = self.names.translate(value.as_str().unwrap());
            if ["user-agent", "accept-encoding", "connect-timeout-ms"].contains(&name.to_lowercase().as_str())
            {
                continue;
            }
            // What the runners' programs send in protobuf, in JSON.
            let value = if value == "application/proto" { "application/json".into() } else { value };
            is_json |= value == "application/json";
            asked = asked.header(name, value);
        }
        asked = match self.names.translate_all(&request["body"]) {
            Value::Null if method == Method::POST && is_json => asked.body("{}"),
            Value::Null => asked,
            Value::String(text) if !is_json => asked.body(text),
            body => asked.body(body.to_string()),
        };
        Answer::of(asked.send().await.unwrap()).await
    }

    /// What happened between, as far as the next answers tell: rows came, the job's steps began.
    async fn bridge(&mut self, next: &[Value]) {
        let calls = |name: &str| {
            let path = format!("/api/actions/runner.v1.RunnerService/{name}");
            next.iter()
                .map(|exchange| &exchange["request"])
                .find(move |request| request["path"] == path.as_str())
        };
        if let Some(request) =
            calls("UpdateTask").filter(|request| request["body"]["state"]["result"].is_null())
        {
            assert!([200, 401, 500].contains(&self.ask(request).await.status));
        }
        if let Some(request) = calls("UpdateLog") {
            let index: u64 = request["body"]["index"].as_str().map_or(0, |text| text.parse().unwrap());
            if index > self.rows {
                let rows: Vec<Value> =
                    (self.rows..index).map(|n| json!({"content": format!("tick {n}")})).collect();
                let mut sent = request.clone();
                sent["body"]["index"] = self.rows.to_string().into();
                sent["body"]["rows"] = rows.into();
                assert_eq!(self.ask(&sent).await.body["ackIndex"], index.to_string());
                self.rows = index;
            }
        }
    }

    /// Says that something of a recording is not compared, or how it was.
    pub(crate) fn differs(&mut self, file: &str, found: Vec<String>) {
        self.compared += 1;
        self.differences.extend(found.into_iter().map(|why| format!("{file}: {why}")));
    }

    /// These are no exchanges with a server, or not whole, and what they tell is not the fake's.
    pub(crate) fn leave_out(&mut self, all: &[(&str, &str)]) {
        for (begin, why) in all {
            let (file, recorded) = self.take(begin);
            assert!(recorded["exchange"].is_null() && recorded["response"].is_null(), "{file} can be played");
            assert!(!why.is_empty(), "{file}");
        }
    }

    /// Everything was played, or left out by its name, and all was alike.
    pub(crate) fn end(self, compared: usize) {
        assert!(self.files.is_empty(), "nothing was made of {:?}", self.files.keys());
        assert!(self.differences.is_empty(), "not as it was recorded:\n{}", self.differences.join("\n"));
        assert_eq!(self.compared, compared, "answers compared");
    }

    /// Begins a run of a workflow that somebody dispatched.
    pub(crate) fn dispatch(&self, file: &str, job: JobRequest) -> JobId {
        let mut workflow = Workflow::push("acme/app", vec![job]);
        file.clone_into(&mut workflow.file);
        file.trim_end_matches(".yml").clone_into(&mut workflow.title);
        workflow.event = "workflow_dispatch".into();
        self.fake.begin(workflow)[0]
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    /// JSON, a string of another text, or null when there is none.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let is_json = headers.get("content-type").is_some_and(|kind| kind.to_str().unwrap().contains("json"));
        let body = match text {
            text if is_json => serde_json::from_str(&text).unwrap(),
            text if text.is_empty() => Value::Null,
            text => text.into(),
        };
        Self { status, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
