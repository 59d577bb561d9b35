//! What the message queue tells. Unknown kinds are passed over, and missing fields tolerated: the queue is not
//! described anywhere, and grows.

use fireactions_http::Response;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{Error, Repository, RunId, RunnerId};

/// Events in a message that are read; GitHub sends at most 50.
const MOST: usize = 1000;
/// Longest text of an event that is kept, in characters.
const LONGEST: usize = 512;
/// Labels of an event that are kept.
const LABELS: usize = 100;

/// A message's number in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub(super) u64);

/// A job's number in its scale set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct RequestId(u64);

impl RequestId {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// How a scale set stands: the truth that events are hints of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Jobs that can be acquired.
    pub available: u32,
    /// Jobs that were acquired.
    pub acquired: u32,
    /// Jobs that the set is to run, those that run among them.
    pub assigned: u32,
    /// Jobs that run.
    pub running: u32,
    /// Runners that there are.
    pub registered: u32,
    /// Runners with a job.
    pub busy: u32,
    /// Runners without one.
    pub idle: u32,
}

impl Statistics {
    /// What it says; for a number that is missing or none, such as `null`, what was known `before`. A message that could
    /// not be read would come again for ever.
    pub(super) fn read(said: &Value, before: Self) -> Self {
        let number = |name: &str, before: u32| {
            said[name].as_u64().map_or(before, |number| u32::try_from(number).unwrap_or(u32::MAX))
        };
        Self {
            available: number("totalAvailableJobs", before.available),
            acquired: number("totalAcquiredJobs", before.acquired),
            assigned: number("totalAssignedJobs", before.assigned),
            running: number("totalRunningJobs", before.running),
            registered: number("totalRegisteredRunners", before.registered),
            busy: number("totalBusyRunners", before.busy),
            idle: number("totalIdleRunners", before.idle),
        }
    }
}

/// The default for a `null`: the service writes one for anything that it has not.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number, to be acknowledged.
    pub id: MessageId,
    /// How the set stands.
    pub statistics: Statistics,
    /// What happened.
    pub events: Vec<JobEvent>,
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// It can be acquired.
    Available(JobInfo),
    /// It is this set's to run.
    Assigned(JobInfo),
    /// A runner has begun it.
    Started {
        /// The job.
        job: JobInfo,
        /// The runner's number.
        runner_id: RunnerId,
        /// The runner's name.
        runner_name: String,
    },
    /// It is over.
    Completed {
        /// The job.
        job: JobInfo,
        /// GitHub's word for how, such as `succeeded`.
        result: String,
        /// The runner's number; none of a job that never began.
        runner_id: Option<RunnerId>,
        /// The runner's name.
        runner_name: Option<String>,
    },
}

/// A job, as the queue tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobInfo {
    /// Its number in the set.
    pub request_id: RequestId,
    /// Where it is from.
    pub repository: Option<Repository>,
    /// `owner/name/.github/workflows/FILE@REF`.
    pub workflow_ref: String,
    /// Its run.
    pub run_id: Option<RunId>,
    /// Its name as people see it.
    pub name: String,
    /// What it asked for.
    pub labels: Vec<String>,
    /// What began the run: `push`, …
    pub event_name: String,
    /// When it was queued.
    pub queued_at: Option<Timestamp>,
    /// When the set got it.
    pub assigned_at: Option<Timestamp>,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "messageId")]
    id: MessageId,
    #[serde(default, rename = "messageType")]
    kind: Value,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    statistics: Value,
}

/// Reads a message; `before` is how the set stood, for one that does not say.
pub(super) fn read(response: &Response, before: Statistics) -> Result<Message, Error> {
    let wire: Wire = response.json("a message")?;
    let statistics = Statistics::read(&wire.statistics, before);
    let mut events = Vec::new();
    if wire.kind == "RunnerScaleSetJobMessages" {
        // A body that cannot be read is no reason not to acknowledge it: the statistics say what is to be done.
        let items: Vec<Value> =
            serde_json::from_str(wire.body.as_str().unwrap_or_default()).unwrap_or_default();
        events.extend(items.iter().take(MOST).filter_map(event));
    }
    Ok(Message { id: wire.id, statistics, events })
}

fn event(item: &Value) -> Option<JobEvent> {
    let job = job(item)?;
    let runner_id = item["runnerId"].as_u64().filter(|id| *id > 0).map(RunnerId::new);
    let runner_name = Some(text(&item["runnerName"])).filter(|name| !name.is_empty());
    Some(match item["messageType"].as_str()? {
        "JobAvailable" => JobEvent::Available(job),
        "JobAssigned" => JobEvent::Assigned(job),
        "JobStarted" => JobEvent::Started { job, runner_id: runner_id?, runner_name: runner_name? },
        "JobCompleted" => JobEvent::Completed { job, result: text(&item["result"]), runner_id, runner_name },
        _ => return None,
    })
}

fn job(item: &Value) -> Option<JobInfo> {
    let full_name = format!("{}/{}", text(&item["ownerName"]), text(&item["repositoryName"]));
    let labels = item["requestLabels"].as_array().map(Vec::as_slice).unwrap_or_default();
    Some(JobInfo {
        request_id: RequestId(item["runnerRequestId"].as_u64()?),
        repository: full_name.parse().ok(),
        workflow_ref: text(&item["jobWorkflowRef"]),
        run_id: item["workflowRunId"].as_u64().filter(|id| *id > 0).map(RunId::new),
        name: text(&item["jobDisplayName"]),
        labels: labels.iter().take(LABELS).map(text).filter(|label| !label.is_empty()).collect(),
        event_name: text(&item["eventName"]),
        queued_at: time(&item["queueTime"]),
        assigned_at: time(&item["scaleSetAssignTime"]),
        finished_at: time(&item["finishTime"]),
    })
}

/// A text for people, without what moves a cursor.
fn text(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// A time; the year 1, which the service writes for none, is none.
fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok().filter(|time: &Timestamp| time.as_second() > 0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;
    use serde_json::json;

    use super::*;

    fn response(body: &str) -> Response {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Response::new("test", StatusCode::OK, HeaderMap::new(), body)
    }

    fn told(items: &Value) -> Message {
        let message = json!({"messageId": 7, "messageType": "RunnerScaleSetJobMessages",
            "body": items.to_string(), "statistics": {"totalAssignedJobs": 3, "totalRunningJobs": 1}});
        read(&response(&message.to_string()), Statistics::default()).unwrap()
    }

    #[test]
    fn every_kind_is_read_and_unknown_ones_are_passed_over() {
        let job = json!({"runnerRequestId": 5, "ownerName": "acme", "repositoryName": "widgets",
            "jobWorkflowRef": "acme/widgets/.github/workflows/ci.yml@refs/heads/main", "workflowRunId": 9,
            "jobDisplayName": "build\u{1b}[2J", "requestLabels": ["fast"], "eventName": "push",
            "queueTime": "2026-01-02T03:04:05Z", "finishTime": "0001-01-01T00:00:00Z"});
        let with = |more: Value| {
            let mut job = job.clone();
            job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            job
        };
        let message = told(&json!([
            with(json!({"messageType": "JobAvailable"})),
            with(json!({"messageType": "JobAssigned"})),
            with(json!({"messageType": "JobStarted", "runnerId": 3, "runnerName": "r"})),
            with(json!({"messageType": "JobCompleted", "result": "succeeded", "runnerId": 0, "runnerName": ""})),
            with(json!({"messageType": "JobTeleported"})),
            {"messageType": "JobAssigned"},
            7,
        ]));
        assert_eq!(
            (message.id, message.statistics.assigned, message.statistics.running),
            (MessageId(7), 3, 1)
        );
        assert_eq!(message.events.len(), 4);
        let JobEvent::Available(info) = &message.events[0] else { panic!("{message:?}") };
        assert_eq!(
            (info.name.as_str(), info.run_id, info.finished_at),
            ("build[2J", Some(RunId::new(9)), None)
        );
        assert_eq!(info.repository.as_ref().unwrap().to_string(), "acme/widgets");
        assert!(matches!(&message.events[3], JobEvent::Completed { runner_name: None, runner_id: None, .. }));
    }

    #[test]
    fn a_message_that_says_little_keeps_what_was_known() {
        let before = Statistics { assigned: 4, ..Statistics::default() };
        let message = read(&response(r#"{"messageId":1,"body":"[]"}"#), before).unwrap();
        assert_eq!((message.statistics, message.events.len()), (before, 0));
        let odd = read(
            &response(r#"{"messageId":1,"messageType":"RunnerScaleSetJobMessages","body":"no"}"#),
            before,
        );
        assert_eq!(odd.unwrap().events, []);
        for odd in
            ["null", "7", "[]", r#"{"totalAssignedJobs":null,"totalIdleRunners":-1,"totalBusyRunners":"x"}"#]
        {
            let text = format!(r#"{{"messageId":1,"messageType":null,"body":null,"statistics":{odd}}}"#);
            assert_eq!(read(&response(&text), before).unwrap().statistics, before, "{odd}");
        }
        let far =
            read(&response(r#"{"messageId":1,"statistics":{"totalAssignedJobs":99999999999}}"#), before);
        assert_eq!(far.unwrap().statistics.assigned, u32::MAX);
        assert!(read(&response("{}"), before).is_err(), "without a number it cannot be acknowledged");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(body in ".{0,300}", id in any::<u64>()) {
            let message = json!({"messageId": id, "messageType": "RunnerScaleSetJobMessages", "body": body});
            read(&response(&message.to_string()), Statistics::default()).unwrap();
            let _ = read(&response(&body), Statistics::default());
        }
    }
}
