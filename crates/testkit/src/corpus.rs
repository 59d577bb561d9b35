//! The seeds of the fuzz targets, for the tests that try each of them on a stable compiler.

// Only tests link this crate, and there a failed setup is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Calls `judge` with every seed of `fuzz/corpus/TARGET`, in the order of their names, and says which one it was that
/// `judge` panicked with.
///
/// # Panics
/// When there are no seeds, or when `judge` does.
pub fn each(target: &str, mut judge: impl FnMut(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let list = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut seeds: Vec<_> = list.map(|entry| entry.unwrap().path()).collect();
    assert!(!seeds.is_empty(), "{} is empty", dir.display());
    seeds.sort();
    for seed in seeds {
        let bytes = std::fs::read(&seed).unwrap();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| judge(&bytes))) {
            eprintln!("that was the seed {}", seed.display());
            resume_unwind(panic);
        }
    }
}
