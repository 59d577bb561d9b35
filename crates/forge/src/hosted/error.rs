//! Why something could not be done at a forge.

use std::fmt;
use std::time::Duration;

/// A forge's refusal, or ours before it is asked, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Error {
    text: String,
    kind: Kind,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It will not go well by trying again.
    Lasting,
    /// It may go well the next time; not before this time, if there is one.
    Transient(Option<Duration>),
    /// There is a runner of this name.
    NameTaken,
}

impl Error {
    /// It will not go well by trying again.
    pub(crate) fn lasting(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), kind: Kind::Lasting }
    }

    /// It may go well the next time: not before `after`, where the forge asks for that.
    pub(crate) fn transient(text: impl fmt::Display, after: Option<Duration>) -> Self {
        Self { text: text.to_string(), kind: Kind::Transient(after) }
    }

    /// There is a runner of the name that a runner was to have.
    pub(crate) fn name_taken(text: impl fmt::Display) -> Self {
        Self { text: text.to_string(), kind: Kind::NameTaken }
    }

    /// Whether it may go well the next time.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Transient(_))
    }

    /// Whether there is a runner of the name.
    pub(crate) fn is_name_taken(&self) -> bool {
        self.kind == Kind::NameTaken
    }

    /// How long the forge wants not to be asked.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            Kind::Transient(after) => after,
            Kind::Lasting | Kind::NameTaken => None,
        }
    }
}
