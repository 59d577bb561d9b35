//! Whether the bucket does what it is asked. One that does not is not asked again for a while, so that nobody's job waits
//! for it time after time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::Error;
use tokio::time::Instant;

use crate::CacheError;

/// Between two tries while it is away.
const PAUSE: Duration = Duration::from_secs(5);
/// What of its words is told, in characters.
const WORDS: usize = 600;

#[derive(Debug)]
struct Trouble {
    what: &'static str,
    why: String,
    /// When somebody may try again.
    again: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Trouble>>);

impl Health {
    fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with it, if something is.
    pub(super) fn problem(&self) -> Option<String> {
        self.trouble().as_ref().map(|trouble| said(trouble).to_string())
    }

    /// Asks, if it is not away. What is not there, or there already, is an answer like any other.
    pub(super) async fn ask<T>(
        &self,
        what: &'static str,
        deadline: Duration,
        asking: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, CacheError> {
        self.allowed()?;
        let why = match tokio::time::timeout(deadline, asking).await {
            Ok(Ok(got)) => {
                self.is_well();
                return Ok(got);
            }
            Ok(Err(Error::NotFound { .. })) => {
                self.is_well();
                return Err(CacheError::NotFound("cache entry"));
            }
            Ok(Err(Error::AlreadyExists { .. } | Error::Precondition { .. })) => {
                self.is_well();
                return Err(CacheError::Exists);
            }
            Ok(Err(error)) => words(&error),
            Err(_) => format!("it did not answer within {} seconds", deadline.as_secs()),
        };
        Err(self.is_away(what, why))
    }

    fn allowed(&self) -> Result<(), CacheError> {
        let mut trouble = self.trouble();
        let Some(trouble) = &mut *trouble else { return Ok(()) };
        if Instant::now() < trouble.again {
            return Err(said(trouble));
        }
        // This one tries, and others wait for what becomes of it.
        trouble.again = Instant::now() + PAUSE;
        Ok(())
    }

    fn is_well(&self) {
        if self.trouble().take().is_some() {
            tracing::info!("the bucket of the cache of actions answers again");
        }
    }

    fn is_away(&self, what: &'static str, why: String) -> CacheError {
        let mut known = self.trouble();
        if known.is_none() {
            tracing::error!(error = %why, "the bucket of the cache of actions cannot {what}: jobs save and find nothing until it answers");
        }
        let trouble = Trouble { what, why, again: Instant::now() + PAUSE };
        let error = said(&trouble);
        *known = Some(trouble);
        error
    }
}

fn said(trouble: &Trouble) -> CacheError {
    CacheError::Bucket { what: trouble.what, why: trouble.why.clone() }
}

/// An error with what caused it. Servers answer with pages of XML.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(WORDS).collect()
}
