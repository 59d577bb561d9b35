//! What the fuzz targets call and the tests replay their seeds through. Each entry asserts its invariants itself.

// A broken invariant is a finding, and is to be as loud as it can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

mod decoder;
mod guest;
mod session;

pub use decoder::decoder;
pub use session::session;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fireactions_testkit::corpus;

    #[test]
    fn seeds_of_the_decoder() {
        corpus::each("decoder", super::decoder);
    }

    #[test]
    fn seeds_of_the_session() {
        let mut reasons = BTreeSet::new();
        corpus::each("session", |seed| reasons.extend(super::session(seed).map(|error| error.to_string())));
        // Should the instructions ever change, the seeds have to follow.
        assert!(reasons.len() >= 20, "the seeds break only these rules: {reasons:#?}");
    }
}
