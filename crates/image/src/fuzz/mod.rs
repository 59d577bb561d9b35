//! What the fuzz targets call and the tests replay their seeds through. Each entry asserts its invariants itself.

// A broken invariant is a finding and must be as visible as possible.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

mod archive;
mod document;
mod layers;

pub use document::document;
pub use layers::layers;

use crate::ImageError;

/// Bounds that small inputs can reach.
fn limits() -> crate::Limits {
    crate::Limits {
        layers: 8,
        entries: 1_000,
        metadata_bytes: 1 << 20,
        compressed_bytes: 1 << 30,
        uncompressed_bytes: 8 << 20,
        expansion: 200,
    }
}

/// An error that may be shown to people.
fn presentable(error: &ImageError) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 8_000 && !text.contains(char::is_control), "{text:?}");
    assert!(!matches!(error, ImageError::Internal(_)), "{text}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fireactions_testkit::corpus;

    #[test]
    fn seeds_of_documents() {
        corpus::each("manifest", super::document);
    }

    #[test]
    fn seeds_of_layers() {
        let mut refusals = BTreeSet::new();
        let mut made = 0;
        corpus::each("layers", |seed| match super::layers(seed) {
            Ok(()) => made += 1,
            Err(error) => drop(refusals.insert(error.to_string())),
        });
        // Should the instructions ever change, the seeds have to follow.
        assert!(made >= 10 && refusals.len() >= 20, "{made} images, and: {refusals:#?}");
    }
}
