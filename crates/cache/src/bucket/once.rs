//! One look for all who want to know at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync;
use tokio::time::Instant;

use crate::CacheError;

/// More of them are not remembered when nobody waits for them.
const REMEMBERED: usize = 1024;

/// When the last look that succeeded began.
type Began = Arc<sync::Mutex<Option<Instant>>>;

#[derive(Debug, Default)]
pub(super) struct Once(Mutex<HashMap<String, Began>>);

impl Once {
    /// Looks, unless somebody began to after this was called.
    pub(super) async fn look(
        &self,
        at: String,
        look: impl Future<Output = Result<(), CacheError>>,
    ) -> Result<(), CacheError> {
        let asked = Instant::now();
        let one = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= REMEMBERED {
                all.retain(|_, one| Arc::strong_count(one) > 1);
            }
            all.entry(at).or_default().clone()
        };
        let mut began = one.lock().await;
        if began.is_some_and(|began| began >= asked) {
            return Ok(());
        }
        let begins = Instant::now();
        look.await?;
        *began = Some(begins);
        Ok(())
    }
}
