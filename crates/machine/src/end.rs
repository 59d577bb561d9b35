//! Why a machine's way ends.

use std::fmt::Display;

use fireactions_model::{Failure, FailureKind};

/// Why a stage did not go on to the next.
#[derive(Debug)]
pub(crate) enum End {
    /// The pool or the server asked for it.
    Retired(String),
    /// Its job failed, for people; the machine itself did what it should.
    JobFailed(String),
    /// Something broke.
    Failed(Failure),
}

impl End {
    /// A failure with everything the error says, causes included.
    pub(crate) fn failed(kind: FailureKind, doing: &str, error: &dyn std::error::Error) -> Self {
        let mut message = format!("{doing}: {error}");
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Many libraries repeat their cause in their own text.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = inner.source();
        }
        Self::Failed(Failure { kind, message })
    }

    /// A failure in plain words.
    pub(crate) fn because(kind: FailureKind, message: impl Display) -> Self {
        Self::Failed(Failure { kind, message: message.to_string() })
    }
}

impl Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Retired(why) => f.write_str(why),
            Self::JobFailed(message) => f.write_str(message),
            Self::Failed(failure) => f.write_str(&failure.message),
        }
    }
}
