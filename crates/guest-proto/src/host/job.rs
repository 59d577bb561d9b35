//! The job as the host sees it: output in order, each byte once, and the end.

use bytes::Bytes;

use super::error::LinkError;
use super::link::Link;
use super::run_state::{JobIn, RunState};
use crate::limits::CHUNK;
use crate::{Exit, HostMsg, JobResult, RunRequest, Stream};

/// Consumption that is acknowledged at once even while more output waits.
const ACK_STEP: u64 = 64 * 1024;

/// Something from the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// A piece of output.
    Output {
        /// Where it was written.
        stream: Stream,
        /// How many bytes of output, of both streams together, came before it.
        offset: u64,
        /// At most 32 KiB.
        data: Bytes,
    },
    /// The job has ended and this was all of its output.
    Exited(JobResult),
}

impl Link {
    /// Starts the job and returns when its process runs. Asking for the same run again, also from another server
    /// process, finds the one that runs or ran.
    ///
    /// # Errors
    /// [`LinkError::Unstartable`] when there is no such program, user or directory; [`LinkError::Guest`] when the
    /// machine is not configured or already had another job.
    pub async fn run(&self, request: RunRequest) -> Result<(), LinkError> {
        let run = request.run.clone();
        let message = HostMsg::Run { request };
        loop {
            let connected = self.shared.connected().await?;
            let session = connected.session;
            let known = self.shared.update(|state| {
                state.job.refused = None;
                state.job.asked = Some(run.clone());
                answer(&state.job, &run)
            });
            if let Some(answer) = known {
                return answer;
            }
            match connected.say(&message).await {
                Ok(()) => {}
                Err(LinkError::Disconnected) => {
                    self.shared.gone(session).await;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let answer = self
                .shared
                .wait(|state| {
                    if let Some(error) = &state.ended {
                        return Some(Some(Err(error.clone())));
                    }
                    let answer = answer(&state.job, &run);
                    let stale = state.session != session || state.connected.is_none();
                    if answer.is_none() && stale { Some(None) } else { answer.map(Some) }
                })
                .await;
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// The next piece of output, or the end. Acknowledges what was returned before, so that the guest may forget it:
    /// store a piece before asking for the next. A new link starts at the first byte that was never acknowledged:
    /// compare offsets with what is stored. After the end it returns the end again. Dropping the future loses
    /// nothing. For one caller at a time.
    pub async fn next_output(&self) -> Result<JobEvent, LinkError> {
        let due = self.shared.update(|state| {
            let job = &mut state.job;
            job.done = job.done.max(job.tail.start());
            job.done > job.acked && (job.tail.len() == 0 || job.done - job.acked >= ACK_STEP)
        });
        if due {
            self.shared.due.notify_one();
        }
        self.shared
            .wait(|state| {
                if state.ended == Some(LinkError::Closed) {
                    return Some(Err(LinkError::Closed));
                }
                if let Some((offset, stream, data)) = state.job.tail.take(CHUNK) {
                    return Some(Ok(JobEvent::Output { stream, offset, data: Bytes::from(data) }));
                }
                if let (RunState::Exited { result, .. }, true) = (&state.job.run, state.job.ended) {
                    return Some(Ok(JobEvent::Exited(result.clone())));
                }
                state.ended.clone().map(Err)
            })
            .await
    }

    /// Sends a signal to all of the job's processes. Returns when the request is on its way.
    pub async fn signal(&self, signal: i32) -> Result<(), LinkError> {
        self.deliver(&HostMsg::Signal { signal }).await
    }
}

/// What is already known about this run.
fn answer(job: &JobIn, run: &str) -> Option<Result<(), LinkError>> {
    if let Some(error) = &job.refused {
        return Some(Err(LinkError::Guest(error.clone())));
    }
    let (known, result) = match &job.run {
        RunState::Idle | RunState::Configured => return None,
        RunState::Running { run } => (run, None),
        RunState::Exited { run, result, .. } => (run, Some(result)),
    };
    if known != run {
        return Some(Err(LinkError::Guest(format!("this machine already had its one job, {known}"))));
    }
    match result.map(|result| &result.exit) {
        Some(Exit::Unstartable(why)) => Some(Err(LinkError::Unstartable(why.clone()))),
        _ => Some(Ok(())),
    }
}
