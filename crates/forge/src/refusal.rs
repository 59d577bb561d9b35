//! What the store refuses, as forges say it.

use std::time::Duration;

use fireactions_model::ForgeError;
use fireactions_store::StoreError;

/// A store's refusal in the forge's words.
pub(crate) fn forge_error(error: StoreError) -> ForgeError {
    match error {
        StoreError::NoJob(job) | StoreError::NotBound { job, .. } => ForgeError::NotBound(job),
        other => ForgeError::Unavailable {
            message: other.to_string(),
            // A full disk or a held lock does not go away at once.
            retry_after: Some(Duration::from_secs(1)),
        },
    }
}
