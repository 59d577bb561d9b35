//! Where the job's output goes in.

use std::io;
use std::sync::Arc;

use super::job::Phase;
use super::state::Shared;
use crate::Stream;
use crate::limits::JOB_WINDOW;

/// Takes one of the job's outputs. Writing waits while a window of output is unacknowledged, so that a job that
/// writes faster than the host stores is slowed down and not cut off.
pub struct JobOutput {
    pub(super) shared: Arc<Shared>,
    pub(super) stream: Stream,
}

impl io::Write for JobOutput {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let stream = self.stream;
        let taken = self.shared.wait(None, |state| {
            if matches!(state.job.phase, Phase::Exited { .. }) {
                return Some(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let room = usize::try_from(JOB_WINDOW.saturating_sub(state.job.tail.len())).unwrap_or(0);
            (room > 0).then(|| {
                let take = data.len().min(room);
                state.job.tail.push(stream, &data[..take]);
                Ok(take)
            })
        });
        self.shared.update(|_| ());
        taken.unwrap_or(Ok(0))
    }

    /// Output is flushed by the session itself.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
