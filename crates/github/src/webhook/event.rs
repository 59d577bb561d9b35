//! What a delivery says (<https://docs.github.com/webhooks/webhook-events-and-payloads#workflow_job>).

use serde::Deserialize;

use super::MAX_BODY;
use crate::WorkflowJob;
use crate::job::WireJob;
use fireactions_http::plain;

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A job changed.
    WorkflowJob(Box<WorkflowJobEvent>),
    /// The webhook was set up.
    Ping,
    /// Something else, by name.
    Other(String),
}

/// A job, as it was when it changed. Deliveries come late, twice, in another order, or never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowJobEvent {
    /// `queued`, `waiting`, `in_progress` or `completed`.
    pub action: String,
    /// The job.
    pub job: WorkflowJob,
    /// The organization that the repository belongs to; none when it is a user's.
    pub organization: Option<String>,
    /// The App's installation that the webhook belongs to; none for a webhook of a repository or organization.
    pub installation: Option<u64>,
}

/// A delivery that cannot be read; its sender could sign it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`MAX_BODY`].
    #[error("the delivery has {0} bytes, but the limit is {MAX_BODY}")]
    TooLarge(usize),
    /// Not what the event's name promises.
    #[error(
        "the {event} delivery cannot be read: {why}; the webhook's content type must be application/json"
    )]
    Unreadable {
        /// The event.
        event: String,
        /// What is wrong, and where.
        why: String,
    },
}

#[derive(Deserialize)]
struct Body {
    action: String,
    workflow_job: WireJob,
    repository: Named,
    #[serde(default)]
    organization: Option<Account>,
    #[serde(default)]
    installation: Option<Numbered>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

#[derive(Deserialize)]
struct Account {
    login: String,
}

#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

/// Reads a delivery: `event` is its `X-GitHub-Event`, `body` the body as it was sent, after [`super::verify`].
///
/// # Errors
///
/// [`Malformed`]
pub fn parse(event: &str, body: &[u8]) -> Result<Event, Malformed> {
    if body.len() > MAX_BODY {
        return Err(Malformed::TooLarge(body.len()));
    }
    match event {
        "ping" => return Ok(Event::Ping),
        "workflow_job" => {}
        other => return Ok(Event::Other(plain(other))),
    }
    let unreadable = |why: String| Malformed::Unreadable { event: event.to_owned(), why: plain(&why) };
    let body: Body = serde_json::from_slice(body).map_err(|e| unreadable(e.to_string()))?;
    let repository = body
        .repository
        .full_name
        .parse()
        .map_err(|e: fireactions_model::IdError| unreadable(e.to_string()))?;
    let status = body.workflow_job.status.clone();
    let Some(job) = body.workflow_job.in_repository(&repository) else {
        // A word that GitHub did not have when this was written.
        return Ok(Event::Other(plain(&format!("workflow_job that is {status}"))));
    };
    Ok(Event::WorkflowJob(Box::new(WorkflowJobEvent {
        action: plain(&body.action),
        job,
        organization: body.organization.map(|account| account.login),
        installation: body.installation.map(|installation| installation.id),
    })))
}

#[cfg(test)]
mod tests {
    use fireactions_testkit::json;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{JobStatus, RunnerId};

    fn sample() -> Value {
        json!({
            "action": "in_progress",
            "workflow_job": {
                "id": 9_223_372_036_854_775_807_i64, "run_id": 2, "run_attempt": 3, "name": "build", "workflow_name": "CI",
                "html_url": "https://github.com/Acme/widgets/actions/runs/2/job/1", "labels": ["Linux", "gpu"],
                "status": "in_progress", "conclusion": null, "runner_id": 7, "runner_name": "fa-1",
                "created_at": "2026-01-31T12:00:00Z", "started_at": "2026-01-31T13:00:07+01:00", "completed_at": null,
            },
            "repository": {"full_name": "Acme/widgets"},
            "organization": {"login": "Acme"},
            "installation": {"id": 5},
        })
    }

    fn read(value: &Value) -> Result<Event, Malformed> {
        parse("workflow_job", value.to_string().as_bytes())
    }

    #[test]
    fn a_job() {
        let Event::WorkflowJob(event) = read(&sample()).unwrap() else { panic!() };
        assert_eq!((event.organization.as_deref(), event.installation), (Some("Acme"), Some(5)));
        let job = event.job;
        assert_eq!(job.id.get(), 9_223_372_036_854_775_807);
        assert_eq!((job.status, job.runner_id), (JobStatus::InProgress, Some(RunnerId::new(7))));
        assert_eq!(job.started_at, Some("2026-01-31T12:00:07Z".parse().unwrap()));
        assert_eq!((job.repository.to_string().as_str(), job.run_attempt), ("Acme/widgets", 3));
    }

    #[test]
    fn a_job_without_a_runner() {
        let mut value = sample();
        value["workflow_job"]["runner_id"] = json!(0);
        value["workflow_job"]["runner_name"] = json!("");
        let Event::WorkflowJob(event) = read(&value).unwrap() else { panic!() };
        assert_eq!((event.job.runner_id, event.job.runner_name), (None, None));
    }

    #[test]
    fn what_is_not_told_is_null_or_empty() {
        let mut value = sample();
        let job = &mut value["workflow_job"];
        job["labels"] = Value::Null;
        (job["created_at"], job["started_at"], job["completed_at"]) = (json!(""), Value::Null, json!("soon"));
        let Event::WorkflowJob(event) = read(&value).unwrap() else { panic!() };
        assert_eq!((event.job.labels.len(), event.job.created_at, event.job.completed_at), (0, None, None));
    }

    #[test]
    fn what_is_no_job() {
        assert_eq!(parse("ping", b"{}"), Ok(Event::Ping));
        assert_eq!(parse("push\n", b"not read"), Ok(Event::Other("push".into())));
        let mut value = sample();
        value["workflow_job"]["status"] = json!("dreaming");
        assert_eq!(read(&value), Ok(Event::Other("workflow_job that is dreaming".into())));
        value["repository"]["full_name"] = json!("../..");
        assert!(matches!(read(&value), Err(Malformed::Unreadable { .. })));
        assert!(matches!(parse("workflow_job", b"payload=%7B"), Err(Malformed::Unreadable { .. })));
        let large = vec![b' '; MAX_BODY + 1];
        assert_eq!(parse("workflow_job", &large), Err(Malformed::TooLarge(MAX_BODY + 1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_an_error(event: String, body: Vec<u8>) {
            let _ = parse(&event, &body);
            prop_assert!(parse("workflow_job", &body).is_err(), "random bytes are no job");
        }

        /// A good delivery in which one thing is replaced by anything, or cut off, or has a byte changed.
        #[test]
        fn any_change_of_a_delivery_is_read_or_refused(
            changed in json::with_one_changed(sample(), "workflow_job"), (cut, other) in json::damaged(&sample()),
        ) {
            if let Ok(Event::WorkflowJob(event)) = read(&changed) {
                prop_assert!(event.action.chars().count() <= 301);
                prop_assert!(!event.job.repository.owner().contains('/'));
            }
            prop_assert!(parse("workflow_job", &cut).is_err());
            let _ = parse("workflow_job", &other);
        }
    }
}
