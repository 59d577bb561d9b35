//! What a delivery says.

use fireactions_http::plain;
use serde::Deserialize;

use super::MAX_BODY;
use super::form::payload;
use crate::wire::GiteaJob;
use crate::{Job, Scope};

/// A delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A job changed.
    WorkflowJob(Box<WorkflowJobEvent>),
    /// The webhook was tried out.
    Ping,
    /// Something else, by name.
    Other(String),
}

/// A job, as it was when it changed. Each delivery is tried once: it comes late, in another order, or never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowJobEvent {
    /// `queued`, `waiting` (others block it), `in_progress` or `completed`.
    pub action: String,
    /// The job; its scope is its repository.
    pub job: Job,
    /// The organization that the repository belongs to; none when it is a user's.
    pub organization: Option<String>,
}

/// A delivery that cannot be read; its sender could sign it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// More than [`MAX_BODY`].
    #[error("the delivery has {0} bytes, but the limit is {MAX_BODY}")]
    TooLarge(usize),
    /// Not what the event's name promises.
    #[error("the {event} delivery cannot be read: {why}")]
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
    workflow_job: GiteaJob,
    repository: Named,
    #[serde(default)]
    organization: Option<Account>,
    #[serde(default)]
    sender: Option<Account>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    username: String,
    #[serde(default)]
    login: String,
}

impl Account {
    fn name(self) -> Option<String> {
        [self.login, self.username].into_iter().find(|name| !name.is_empty()).map(|name| plain(&name))
    }
}

/// Reads a delivery, after [`super::verify`]: `event` is its `X-Gitea-Event`, `content_type` its own, `body` the body as it was
/// sent.
///
/// # Errors
///
/// [`Malformed`]
pub fn parse(event: &str, content_type: &str, body: &[u8]) -> Result<Event, Malformed> {
    // A form is up to three times as long as what is in it.
    if body.len() > MAX_BODY {
        return Err(Malformed::TooLarge(body.len()));
    }
    match event {
        "ping" => return Ok(Event::Ping),
        "workflow_job" => {}
        other => return Ok(Event::Other(plain(other))),
    }
    let unreadable = |why: &str| Malformed::Unreadable { event: event.to_owned(), why: plain(why) };
    let json = payload(content_type, body).ok_or_else(|| unreadable("the form has no payload"))?;
    let body: Body = serde_json::from_slice(&json).map_err(|error| unreadable(&error.to_string()))?;
    let full_name = body.repository.full_name;
    let (owner, name) = full_name.split_once('/').unwrap_or((&full_name, ""));
    let scope = Scope::repository(owner, name).map_err(|error| unreadable(&error.to_string()))?;
    let status = body.workflow_job.status.clone();
    let Some(mut job) = body.workflow_job.read(&scope) else {
        // A word that Gitea did not have when this was written.
        return Ok(Event::Other(plain(&format!("workflow_job that is {status}"))));
    };
    job.repository = Some(full_name);
    job.actor = body.sender.and_then(Account::name);
    let organization = body.organization.and_then(Account::name);
    Ok(Event::WorkflowJob(Box::new(WorkflowJobEvent { action: plain(&body.action), job, organization })))
}

#[cfg(test)]
mod tests {
    use fireactions_testkit::json;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{JobStatus, RunnerId};

    const JSON: &str = "application/json";

    fn sample() -> Value {
        json!({
            "action": "in_progress",
            "workflow_job": {
                "id": 9_223_372_036_854_775_807_i64, "run_id": 2, "run_attempt": 1, "name": "build",
                "url": "https://host/git/api/v1/repos/Acme/app/actions/jobs/1", "html_url": "https://host/git/Acme/app/x",
                "labels": ["Linux", "gpu"], "head_branch": "main", "status": "in_progress", "runner_id": 7,
                "runner_name": "fa-1", "steps": [], "created_at": "2026-01-31T12:00:00Z",
                "started_at": "2026-01-31T13:00:07+01:00", "completed_at": "1970-01-01T00:00:00Z",
            },
            "organization": {"id": 3, "username": "Acme"},
            "repository": {"full_name": "Acme/app"},
            "sender": {"login": "boss"},
        })
    }

    fn read(value: &Value) -> Result<Event, Malformed> {
        parse("workflow_job", JSON, value.to_string().as_bytes())
    }

    #[test]
    fn a_job() {
        let Event::WorkflowJob(event) = read(&sample()).unwrap() else { panic!() };
        assert_eq!((event.action.as_str(), event.organization.as_deref()), ("in_progress", Some("Acme")));
        let job = event.job;
        assert_eq!(job.id.get(), 9_223_372_036_854_775_807);
        assert_eq!((job.status, job.runner), (JobStatus::Running, Some(RunnerId::new(7))));
        assert_eq!(job.started_at, Some("2026-01-31T12:00:07Z".parse().unwrap()));
        assert_eq!((job.completed_at, job.run_id, job.actor.as_deref()), (None, Some(2), Some("boss")));
        assert_eq!(
            (job.scope.to_string().as_str(), job.repository.as_deref()),
            ("repos/Acme/app", Some("Acme/app"))
        );
    }

    #[test]
    fn what_is_not_told_is_null_or_empty() {
        let mut value = sample();
        let job = &mut value["workflow_job"];
        for key in ["labels", "url", "html_url", "run_attempt", "started_at"] {
            job[key] = Value::Null;
        }
        job["created_at"] = json!("");
        let Event::WorkflowJob(event) = read(&value).unwrap() else { panic!() };
        assert_eq!((event.job.runs_on.len(), event.job.created_at, event.job.started_at), (0, None, None));
    }

    #[test]
    fn a_job_in_a_form() {
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &sample().to_string())
            .finish();
        let kind = "application/x-www-form-urlencoded";
        assert_eq!(parse("workflow_job", kind, form.as_bytes()), read(&sample()));
        assert!(matches!(parse("workflow_job", kind, b"a=b"), Err(Malformed::Unreadable { .. })));
        assert!(matches!(parse("workflow_job", JSON, form.as_bytes()), Err(Malformed::Unreadable { .. })));
    }

    #[test]
    fn what_is_no_job() {
        assert_eq!(parse("ping", JSON, b"{}"), Ok(Event::Ping));
        assert_eq!(parse("push\n", JSON, b"not read"), Ok(Event::Other("push".into())));
        let mut value = sample();
        value["workflow_job"]["status"] = json!("dreaming");
        assert_eq!(read(&value), Ok(Event::Other("workflow_job that is dreaming".into())));
        value["repository"]["full_name"] = json!("../..");
        assert!(matches!(read(&value), Err(Malformed::Unreadable { .. })));
        let large = vec![b' '; MAX_BODY + 1];
        assert_eq!(parse("workflow_job", JSON, &large), Err(Malformed::TooLarge(MAX_BODY + 1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_an_error(event: String, kind: String, body: Vec<u8>) {
            let _ = parse(&event, &kind, &body);
            let _ = parse("workflow_job", "application/x-www-form-urlencoded", &body);
            prop_assert!(parse("workflow_job", JSON, &body).is_err(), "random bytes are no job");
        }

        /// A good delivery in which one thing is replaced by anything, or cut off, or has a byte changed.
        #[test]
        fn any_change_of_a_delivery_is_read_or_refused(
            changed in json::with_one_changed(sample(), "workflow_job"), (cut, other) in json::damaged(&sample()),
        ) {
            if let Ok(Event::WorkflowJob(event)) = read(&changed) {
                prop_assert!(event.action.chars().count() <= 301);
                prop_assert_eq!(event.job.scope.to_string().matches('/').count(), 2);
            }
            prop_assert!(parse("workflow_job", JSON, &cut).is_err());
            let _ = parse("workflow_job", JSON, &other);
        }
    }
}
