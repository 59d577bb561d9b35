//! Fail points around every journaled step, for the tests that kill the server there. Compiled out of every build
//! without the feature `failpoints`.

use fireactions_model::Step;

/// Just before a step is journaled.
pub(crate) fn before(step: Option<Step>) {
    at(step, "before");
}

/// Just after a step is journaled, before its effect.
pub(crate) fn after(step: Option<Step>) {
    at(step, "after");
}

#[cfg(feature = "failpoints")]
fn at(step: Option<Step>, side: &str) {
    if let Some(step) = step {
        fail::fail_point!(&format!("machine::{}-{side}", step.as_str()));
    }
}

#[cfg(not(feature = "failpoints"))]
fn at(_: Option<Step>, _: &str) {}
