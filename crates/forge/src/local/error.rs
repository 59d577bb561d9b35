use std::fmt;
use std::time::Duration;

use fireactions_store::StoreError;

/// One thing wrong with a submitted job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, e.g. `files[2].dest`.
    pub field: String,
    /// What is wrong and what is allowed.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a job was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It asks for what cannot be. All problems are listed.
    #[error("the job is not valid: {}", joined(.0))]
    Invalid(Vec<Problem>),
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
