use std::time::Duration;

use fireactions_model::SpecProblem;
use fireactions_store::StoreError;

fn joined(problems: &[SpecProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a job was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It asks for what cannot be. All problems are listed.
    #[error("the job is not valid: {}", joined(.0))]
    Invalid(Vec<SpecProblem>),
    /// More or fewer files were given than the job announces.
    #[error("the job announces {announced} input files, but {given} were given")]
    FileCount {
        /// In the spec.
        announced: usize,
        /// Given.
        given: usize,
    },
    /// An input file could not be read.
    #[error("cannot read input file {path}: {source}")]
    Source {
        /// Host path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// An input file took too long to arrive.
    #[error("input file {dest} did not arrive within {} s", .deadline.as_secs())]
    Slow {
        /// Guest path.
        dest: String,
        /// The deadline.
        deadline: Duration,
    },
    /// The store refused; `StoreError::QueueFull` and `WrongSize` are the caller's to see.
    #[error(transparent)]
    Store(#[from] StoreError),
}
