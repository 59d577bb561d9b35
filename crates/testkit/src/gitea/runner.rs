//! A runner's side of the protocol, in JSON: what `act_runner` and `forgejo-runner` do with a job, without doing it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// Badly.
    Failure,
    /// It was stopped.
    Cancelled,
}

/// A server that does not do what a runner asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// Connect's code, such as `unauthenticated`.
    pub code: String,
    /// In the server's words.
    pub message: String,
}

/// A job that the runner got.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id, which is not the job's.
    pub id: u64,
    /// The workflow that has this job alone, in YAML.
    pub workflow: String,
    /// What it runs for: repository, event, token and more.
    pub context: Value,
    /// Everything that came.
    pub message: Value,
}

/// A runner that is registered.
#[derive(Debug, Clone)]
pub struct FakeRunner {
    client: reqwest::Client,
    url: String,
    uuid: String,
    token: String,
}

impl FakeRunner {
    /// One with this credential, of the server at this URL.
    ///
    /// # Panics
    ///
    /// When there can be no HTTP client.
    pub fn new(url: &str, uuid: &str, token: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
        Self {
            client: client.expect("a client"),
            url: url.trim_end_matches('/').to_owned(),
            uuid: uuid.to_owned(),
            token: token.to_owned(),
        }
    }

    /// What `act_runner` makes of its `.runner`.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn from_file(text: &str) -> Self {
        let file: Value = serde_json::from_str(text).expect("a .runner");
        let word = |name: &str| file[name].as_str().unwrap_or_else(|| panic!("no {name}"));
        Self::new(word("address"), word("uuid"), word("token"))
    }

    /// Registers one with a registration token, as `act_runner register` does.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn register(
        url: &str,
        token: &str,
        name: &str,
        labels: &[&str],
        ephemeral: bool,
    ) -> Result<Self, Refused> {
        let asking = Self::new(url, "", "");
        let body = json!({"name": name, "token": token, "version": "v0.2.13", "labels": labels,
            "ephemeral": ephemeral});
        let answer = asking.call("Register", &body).await?;
        let word = |name: &str| answer["runner"][name].as_str().unwrap_or_default();
        Ok(Self::new(url, word("uuid"), word("token")))
    }

    /// Says which labels it has, as every runner does first. Only names: what follows a colon is the runner's own.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn declare(&self, labels: &[&str]) -> Result<Value, Refused> {
        self.declare_as("v0.2.13", labels).await
    }

    /// The same, as this version.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn declare_as(&self, version: &str, labels: &[&str]) -> Result<Value, Refused> {
        let names: Vec<&str> =
            labels.iter().map(|label| label.split(':').next().unwrap_or_default()).collect();
        self.call("Declare", &json!({"version": version, "labels": names})).await
    }

    /// A job, if there is one now.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn fetch(&self) -> Result<Option<Task>, Refused> {
        self.call("FetchTask", &json!({})).await.map(|answer| task(&answer))
    }

    /// The job with this handle, if it still waits. Forgejo >= 15.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn fetch_single(&self, handle: &str) -> Result<Option<Task>, Refused> {
        self.call("FetchSingleTask", &json!({"handle": handle})).await.map(|answer| task(&answer))
    }

    /// Tells that it is at its first step; gives how the job stands: empty, or how it ended, such as `RESULT_CANCELLED`. An ephemeral
    /// runner is never told of a cancel: it is refused.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn heartbeat(&self, task: &Task) -> Result<String, Refused> {
        let now = Timestamp::now().to_string();
        let steps = [json!({"id": "0", "startedAt": now})];
        let state = json!({"id": task.id.to_string(), "startedAt": now, "steps": steps});
        let answer = self.call("UpdateTask", &json!({"state": state})).await?;
        Ok(answer["state"]["result"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends rows of the log, from this index on; gives how many the server has.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn log(&self, task: &Task, index: u64, rows: &[&str], is_whole: bool) -> Result<u64, Refused> {
        let now = Timestamp::now().to_string();
        let rows: Vec<Value> = rows.iter().map(|row| json!({"time": now, "content": row})).collect();
        let body = json!({"taskId": task.id.to_string(), "index": index.to_string(), "rows": rows,
            "noMore": is_whole});
        let answer = self.call("UpdateLog", &body).await?;
        Ok(answer["ackIndex"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default())
    }

    /// The last word on a job.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn finish(&self, task: &Task, outcome: Outcome) -> Result<(), Refused> {
        let result = match outcome {
            Outcome::Success => "RESULT_SUCCESS",
            Outcome::Failure => "RESULT_FAILURE",
            Outcome::Cancelled => "RESULT_CANCELLED",
        };
        let now = Timestamp::now().to_string();
        let state = json!({"id": task.id.to_string(), "result": result, "startedAt": now, "stoppedAt": now});
        self.call("UpdateTask", &json!({"state": state})).await.map(|_| ())
    }

    /// A whole job: says its labels, takes the next one, sends a line, ends. None when there was no job.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn one_job(&self, labels: &[&str], outcome: Outcome) -> Result<Option<Task>, Refused> {
        self.declare(labels).await?;
        let Some(task) = self.fetch().await? else { return Ok(None) };
        self.heartbeat(&task).await?;
        self.log(&task, 0, &["hello world"], true).await?;
        self.finish(&task, outcome).await?;
        Ok(Some(task))
    }

    /// Any call of the protocol, such as `FetchTask`.
    ///
    /// # Errors
    ///
    /// What the server says against it.
    pub async fn call(&self, method: &str, body: &Value) -> Result<Value, Refused> {
        let url = format!("{}/api/actions/runner.v1.RunnerService/{method}", self.url);
        let request = self.client.post(url).header("connect-protocol-version", "1").json(body);
        let request = request.header("x-runner-uuid", &self.uuid).header("x-runner-token", &self.token);
        let lost =
            |error: reqwest::Error| Refused { status: 0, code: String::new(), message: error.to_string() };
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status().as_u16();
        let text = answer.text().await.map_err(lost)?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status == 200 {
            return Ok(body);
        }
        let word = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Err(Refused { status, code: word("code"), message: word("message") })
    }
}

fn task(answer: &Value) -> Option<Task> {
    let message = answer.get("task")?.clone();
    let payload = STANDARD.decode(message["workflowPayload"].as_str().unwrap_or_default());
    Some(Task {
        id: message["id"].as_str()?.parse().ok()?,
        workflow: String::from_utf8_lossy(&payload.unwrap_or_default()).into_owned(),
        context: message["context"].clone(),
        message,
    })
}
