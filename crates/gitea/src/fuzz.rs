//! What the fuzz target calls and the tests try their inputs with: whoever sent a delivery, an answer and never a panic.

// A broken invariant is a finding, and is to be as loud as it can.
#![allow(clippy::missing_panics_doc)]

use fireactions_http::assert_presentable;
use fireactions_model::Secret;

use crate::webhook::{Event, parse, verify};

/// A delivery: its event's name is the first line, and its signatures as well; the rest is its body, as JSON and as a form.
pub fn webhook(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let first = String::from_utf8_lossy(&data[..end]);
    let body = data.get(end + 1..).unwrap_or_default();
    let secrets = [Secret::new("a key that no input has")];
    for kind in ["application/json", "application/x-www-form-urlencoded"] {
        for (gitea, hub) in [(Some(&*first), None), (None, Some(&*first)), (Some(""), Some("sha256="))] {
            assert!(verify(&secrets, kind, body, gitea, hub).is_err(), "signed without the key");
        }
        match parse(&first, kind, body) {
            Ok(Event::WorkflowJob(event)) => {
                assert_eq!(first, "workflow_job");
                assert_presentable(&event.action);
                assert_presentable(&event.job.name);
                assert!(event.job.runner.is_none_or(|id| id.get() != 0), "0 is no runner");
                let texts = [&event.job.runner_name, &event.job.git_ref, &event.job.actor, &event.job.url];
                assert!(texts.into_iter().flatten().all(|text| !text.is_empty()), "an empty name is none");
                let of_itself: Result<crate::Scope, _> = event.job.scope.to_string().parse();
                assert_eq!(of_itself.ok().as_ref(), Some(&event.job.scope));
            }
            Ok(Event::Ping) => assert_eq!(first, "ping"),
            Ok(Event::Other(name)) => assert_presentable(&name),
            Err(error) => assert_presentable(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use fireactions_testkit::corpus;

    use super::*;

    #[test]
    fn seeds() {
        let mut jobs = 0;
        corpus::each("webhook", |seed| {
            webhook(seed);
            let (event, body) = seed.split_at(seed.iter().position(|byte| *byte == b'\n').unwrap());
            let event = String::from_utf8_lossy(event);
            jobs += usize::from(matches!(
                parse(&event, "application/json", &body[1..]),
                Ok(Event::WorkflowJob(_))
            ));
        });
        assert!(jobs >= 4, "the seeds no longer reach what they were made for: {jobs}");
    }
}
