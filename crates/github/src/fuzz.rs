//! What the fuzz target calls and the tests try their inputs with: whoever sent a delivery, an answer and never a panic.

// A broken invariant is a finding, and is to be as loud as it can.
#![allow(clippy::missing_panics_doc)]

use fireactions_http::assert_presentable;
use fireactions_model::Secret;

use crate::webhook::{Event, parse, verify};

/// A delivery: its event's name is the first line, and its signature as well; the rest is its body.
pub fn webhook(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let first = String::from_utf8_lossy(&data[..end]);
    let body = data.get(end + 1..).unwrap_or_default();
    let secrets = [Secret::new("a key that no input has")];
    assert!(verify(&secrets, body, Some(&first)).is_err(), "signed without the key");
    match parse(&first, body) {
        Ok(Event::WorkflowJob(event)) => {
            assert_eq!(first, "workflow_job");
            assert_presentable(&event.action);
            assert!(event.job.runner_id.is_none_or(|id| id.get() != 0), "0 is no runner");
            let texts = [&event.job.runner_name, &event.job.workflow, &event.job.conclusion];
            assert!(texts.into_iter().flatten().all(|text| !text.is_empty()), "an empty name is none");
            let of_itself: Result<crate::Repository, _> = event.job.repository.to_string().parse();
            assert_eq!(of_itself.ok().as_ref(), Some(&event.job.repository));
        }
        Ok(Event::Ping) => assert_eq!(first, "ping"),
        Ok(Event::Other(name)) => assert_presentable(&name),
        Err(error) => assert_presentable(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use fireactions_testkit::corpus;

    use super::*;

    #[test]
    fn seeds() {
        let (mut jobs, mut others) = (0, 0);
        corpus::each("webhook", |seed| {
            webhook(seed);
            let (event, body) = seed.split_at(seed.iter().position(|byte| *byte == b'\n').unwrap());
            match parse(&String::from_utf8_lossy(event), &body[1..]) {
                Ok(Event::WorkflowJob(_)) => jobs += 1,
                _ => others += 1,
            }
        });
        assert!(
            jobs >= 4 && others >= 8,
            "the seeds no longer reach what they were made for: {jobs}, {others}"
        );
    }
}
