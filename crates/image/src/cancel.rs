//! Cancellation of blocking work: the future that wants the result holds the guard, the thread asks the flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ImageError;

/// Asked by blocking loops.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

/// Cancels when dropped.
#[derive(Debug)]
pub(crate) struct CancelGuard(Cancel);

impl Cancel {
    pub(crate) fn guard(&self) -> CancelGuard {
        CancelGuard(self.clone())
    }

    /// An error once cancelled.
    pub(crate) fn check(&self) -> Result<(), ImageError> {
        if self.0.load(Ordering::Relaxed) { Err(ImageError::Cancelled) } else { Ok(()) }
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
