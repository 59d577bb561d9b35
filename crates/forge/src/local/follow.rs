//! Following a job's log while it is written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fireactions_model::JobId;
use fireactions_store::{JobLog, LogRecord, StoreError};
use futures::Stream;
use futures::stream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::LocalForge;

/// A follower that hears nothing looks again after this, whatever was lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

struct Follower {
    forge: LocalForge,
    job: JobId,
    log: Arc<JobLog>,
    changes: watch::Receiver<u64>,
    next: u64,
    ready: VecDeque<LogRecord>,
    ended: bool,
}

impl LocalForge {
    /// The records of a job's log from `from` (0, or a record's `next`) on: those that are there, then those that
    /// come, until the job is final. A job that is final, or unknown, ends it at once after what is there.
    pub fn follow_log(
        &self,
        job: &JobId,
        from: u64,
    ) -> impl Stream<Item = Result<LogRecord, StoreError>> + Send + 'static {
        let log = self.inner.store.log(job);
        let follower = Follower {
            forge: self.clone(),
            job: job.clone(),
            changes: log.watch(),
            log,
            next: from,
            ready: VecDeque::new(),
            ended: false,
        };
        stream::try_unfold(follower, |mut follower| async move {
            Ok(follower.next().await?.map(|record| (record, follower)))
        })
    }
}

impl Follower {
    async fn next(&mut self) -> Result<Option<LogRecord>, StoreError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            if self.ended {
                return Ok(None);
            }
            self.changes.mark_unchanged();
            // Asked before reading: nothing is written after the end, so what is read then is all.
            let ended = self.forge.inner.store.job(&self.job).await?.is_none_or(|job| job.state.is_final());
            let (records, next) = self.log.read(self.next).await?;
            self.next = next;
            self.ended = ended && records.is_empty();
            self.ready = records.into();
            if self.ready.is_empty() && !self.ended {
                // A change, the deadline or a closed channel: look again in each case.
                let _ = timeout(LOOK_AGAIN, self.changes.changed()).await;
            }
        }
    }
}
