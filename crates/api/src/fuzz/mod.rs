//! What the fuzz targets call and the tests replay their seeds through. Each entry asserts its invariants itself.

// A broken invariant is a finding and must be as visible as possible.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

mod bodies;
mod submission;

pub use bodies::api;
pub use submission::submission;

use crate::Fault;

/// A refusal that may be shown to people.
fn presentable(fault: &Fault) {
    let Fault { message, .. } = fault;
    assert!(
        !message.is_empty() && message.len() < 5_000 && !message.contains(char::is_control),
        "{message:?}"
    );
    assert!(fault.code.status().is_client_error(), "{fault:?}");
}

#[cfg(test)]
mod tests {
    use fireactions_testkit::corpus;

    #[test]
    fn seeds_of_bodies() {
        corpus::each("api", super::api);
    }

    #[test]
    fn seeds_of_submissions() {
        let mut accepted = 0;
        corpus::each("submission", |seed| accepted += usize::from(super::submission(seed)));
        assert!(accepted >= 3, "only {accepted} of the seeds are accepted");
    }
}
