//! The runner protocol's calls: Connect, in JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::VERSION;
use crate::http::{self, Url};
use crate::wire::{
    DeclareRequest, DeclareResponse, FetchRequest, FetchResponse, Row, Runner, TaskState, UpdateLogRequest,
    UpdateLogResponse, UpdateTaskRequest, UpdateTaskResponse, Verdict,
};

/// The deadline of what is no question for a task.
const WITHIN: Duration = Duration::from_secs(30);

/// The server, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    url: Url,
    /// As it was given, for log lines.
    pub(crate) address: String,
    uuid: String,
    token: String,
}

/// What a refused call says.
#[derive(Deserialize)]
struct Refused {
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    pub(crate) fn new(address: &str, uuid: &str, token: &str) -> Result<Self, String> {
        Ok(Self {
            url: Url::parse(address)?,
            address: address.trim_end_matches('/').to_owned(),
            uuid: uuid.to_owned(),
            token: token.trim().to_owned(),
        })
    }

    /// Tells the server this runner's version and labels.
    pub(crate) fn declare(&self, labels: &[String]) -> Result<Runner, String> {
        let answer: DeclareResponse =
            self.call("Declare", &[], &DeclareRequest { version: VERSION, labels }, WITHIN)?;
        Ok(answer.runner)
    }

    /// Asks for any task. `version` is that of the answer before, nothing the first time.
    pub(crate) fn fetch(&self, version: &str, within: Duration) -> Result<FetchResponse, String> {
        self.call("FetchTask", &[], &FetchRequest { tasks_version: version, handle: None }, within)
    }

    /// Asks for one task, which only Forgejo knows. The same `key` gives the same task again.
    pub(crate) fn fetch_one(
        &self,
        handle: &str,
        key: &str,
        within: Duration,
    ) -> Result<FetchResponse, String> {
        let asked = FetchRequest { tasks_version: "", handle: Some(handle) };
        self.call("FetchSingleTask", &[("X-Runner-Request-Key", key)], &asked, within)
    }

    /// Tells how far a task is; gives the server's own result, if somebody ended the task there.
    pub(crate) fn update_task(
        &self,
        state: &TaskState,
        outputs: &BTreeMap<String, String>,
    ) -> Result<Verdict, String> {
        let answer: UpdateTaskResponse =
            self.call("UpdateTask", &[], &UpdateTaskRequest { state, outputs }, WITHIN)?;
        Ok(answer.state.result)
    }

    /// Sends rows of a task's log from `index` on; gives how many rows the server has.
    pub(crate) fn update_log(
        &self,
        task_id: &str,
        index: usize,
        rows: &[Row],
        no_more: bool,
    ) -> Result<usize, String> {
        let sent = UpdateLogRequest { task_id, index, rows, no_more };
        let answer: UpdateLogResponse = self.call("UpdateLog", &[], &sent, WITHIN)?;
        Ok(answer.ack_index.parse().unwrap_or(0))
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        more: &[(&str, &str)],
        message: &impl Serialize,
        within: Duration,
    ) -> Result<T, String> {
        let path = format!("/api/actions/runner.v1.RunnerService/{method}");
        let body = serde_json::to_vec(message).map_err(|error| format!("internal: {error}"))?;
        let mut headers = vec![
            ("User-Agent", "fireactions-testkit-runner"),
            ("Connect-Protocol-Version", "1"),
            ("X-Runner-Uuid", self.uuid.as_str()),
            ("X-Runner-Token", self.token.as_str()),
        ];
        headers.extend_from_slice(more);
        let answer = http::post(&self.url, &path, &headers, &body, within)?;
        if answer.status == 200 {
            return serde_json::from_slice(&answer.body)
                .map_err(|error| format!("internal: {method}: {error}"));
        }
        Err(serde_json::from_slice::<Refused>(&answer.body).map_or_else(
            |_| format!("unavailable: {}", answer.status),
            |refused| format!("{}: {}", refused.code, refused.message),
        ))
    }
}
