//! Messages of the runner protocol as Connect has them in JSON: 64-bit integers are strings, what is empty is left out,
//! what is unknown is passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the server is told when the runner starts.
#[derive(Debug, Serialize)]
pub(crate) struct DeclareRequest<'a> {
    pub(crate) version: &'a str,
    pub(crate) labels: &'a [String],
}

/// Its answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DeclareResponse {
    pub(crate) runner: Runner,
}

/// How the server knows this runner.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Runner {
    pub(crate) name: String,
    pub(crate) ephemeral: bool,
}

/// The question for a task.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FetchRequest<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) tasks_version: &'a str,
    /// Forgejo: the one job that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) handle: Option<&'a str>,
}

/// Its answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct FetchResponse {
    pub(crate) task: Option<Task>,
    pub(crate) tasks_version: String,
}

/// A job to run.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Task {
    pub(crate) id: String,
    /// The workflow with this one job in it, YAML in base64.
    pub(crate) workflow_payload: String,
    /// The `github` context.
    pub(crate) context: Value,
    pub(crate) secrets: BTreeMap<String, String>,
    /// By job: results and outputs of those that it waited for.
    pub(crate) needs: BTreeMap<String, Need>,
    pub(crate) vars: BTreeMap<String, String>,
}

/// A job that was waited for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Need {
    pub(crate) outputs: BTreeMap<String, String>,
    pub(crate) result: Verdict,
}

/// How a job or a step ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    #[serde(rename = "RESULT_SUCCESS")]
    Success,
    #[serde(rename = "RESULT_FAILURE")]
    Failure,
    #[serde(rename = "RESULT_CANCELLED")]
    Cancelled,
    #[serde(rename = "RESULT_SKIPPED")]
    Skipped,
    /// It goes on, or the server says what this program does not know.
    #[default]
    #[serde(rename = "RESULT_UNSPECIFIED", other)]
    Unspecified,
}

impl Verdict {
    /// As expressions name it; nothing while it is open.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_open(&self) -> bool {
        *self == Self::Unspecified
    }
}

/// How far a job is.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskState {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Verdict::is_open")]
    pub(crate) result: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopped_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) steps: Vec<StepState>,
}

/// How far a step is.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepState {
    #[serde(serialize_with = "number")]
    pub(crate) id: usize,
    #[serde(skip_serializing_if = "Verdict::is_open")]
    pub(crate) result: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopped_at: Option<String>,
    /// Its first row of the job's log.
    #[serde(serialize_with = "number")]
    pub(crate) log_index: usize,
    /// How many rows it has.
    #[serde(serialize_with = "number")]
    pub(crate) log_length: usize,
}

/// State and outputs, to the server.
#[derive(Debug, Serialize)]
pub(crate) struct UpdateTaskRequest<'a> {
    pub(crate) state: &'a TaskState,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) outputs: &'a BTreeMap<String, String>,
}

/// Its answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UpdateTaskResponse {
    pub(crate) state: Told,
}

/// What the server says of the job: its own result, when somebody ended it there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    pub(crate) result: Verdict,
}

/// Rows of the log, to the server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UpdateLogRequest<'a> {
    pub(crate) task_id: &'a str,
    /// Of the first row.
    #[serde(serialize_with = "number", skip_serializing_if = "is_zero")]
    pub(crate) index: usize,
    #[serde(skip_serializing_if = "<[Row]>::is_empty")]
    pub(crate) rows: &'a [Row],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_more: bool,
}

/// A row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) time: String,
    pub(crate) content: String,
}

/// How many rows the server has.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct UpdateLogResponse {
    pub(crate) ack_index: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn number<S: serde::Serializer>(value: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(value: &usize) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_strings_and_what_is_empty_is_left_out() {
        let state = TaskState {
            id: "1".into(),
            result: Verdict::Success,
            started_at: Some("T".into()),
            steps: vec![StepState { log_length: 2, ..StepState::default() }],
            ..TaskState::default()
        };
        let sent = UpdateTaskRequest { state: &state, outputs: &BTreeMap::new() };
        let step = json!({"id": "0", "logIndex": "0", "logLength": "2"});
        let wanted =
            json!({"state": {"id": "1", "result": "RESULT_SUCCESS", "startedAt": "T", "steps": [step]}});
        assert_eq!(serde_json::to_value(&sent).unwrap(), wanted);
        let sent = UpdateLogRequest { task_id: "2", index: 0, rows: &[], no_more: false };
        assert_eq!(serde_json::to_value(&sent).unwrap(), json!({"taskId": "2"}));
        let told: UpdateTaskResponse =
            serde_json::from_str(r#"{"state": {"id": "9", "result": "RESULT_CANCELLED"}}"#).unwrap();
        assert_eq!(told.state.result, Verdict::Cancelled);
    }
}
