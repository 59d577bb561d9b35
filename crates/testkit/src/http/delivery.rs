//! How webhooks are delivered, or fail to be.

use std::time::{Duration, Instant};

/// How deliveries are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Once, at once, signed.
    Normal,
    /// Not at all.
    Lost,
    /// Twice at once, under the same delivery id.
    Duplicated,
    /// Once now and again so much later, under the same delivery id.
    Again(Duration),
    /// So much later.
    Late(Duration),
    /// With a signature by another secret.
    WrongSignature,
    /// With no signature.
    Unsigned,
    /// Padded with white space to so many bytes.
    Huge(usize),
}

impl Delivery {
    /// When it is sent: never, once or twice.
    pub(crate) fn due(self) -> Vec<Instant> {
        let now = Instant::now();
        match self {
            Self::Lost => vec![],
            Self::Duplicated => vec![now, now],
            Self::Again(later) => vec![now, now + later],
            Self::Late(later) => vec![now + later],
            _ => vec![now],
        }
    }
}
