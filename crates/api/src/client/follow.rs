//! A job's output to its end, over restarts and handovers of the server.

use std::time::{Duration, Instant};

use fireactions_model::{ExponentialBackoff, JobId};
use futures::{StreamExt, stream};

use super::{Client, ClientError, ClientStream, LogEvent, Result};

/// A server that restarts is waited for this long.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two tries.
const PAUSES: ExponentialBackoff =
    ExponentialBackoff::new(Duration::from_millis(200), Duration::from_secs(5));

struct Follower {
    client: Client,
    job: JobId,
    /// Where the next piece begins.
    from: u64,
    log: Option<ClientStream<LogEvent>>,
    backoff: ExponentialBackoff,
    /// Since when there is no output and no server.
    since: Option<Instant>,
    done: bool,
}

impl Client {
    /// A job's output from a position on, as [`Client::job_log`] with `follow`, to [`LogEvent::End`]: when the server
    /// ends the log, is restarted or hands over, it is asked again, for a minute and a half, and goes on where it
    /// ended. Every piece comes once.
    pub fn follow_job(&self, job: &JobId, from: u64) -> ClientStream<LogEvent> {
        let follower = Follower {
            client: self.clone(),
            job: job.clone(),
            from,
            log: None,
            backoff: PAUSES,
            since: None,
            done: false,
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
        .boxed()
    }
}

impl Follower {
    async fn next(&mut self) -> Option<Result<LogEvent>> {
        while !self.done {
            let ended = match &mut self.log {
                None => match self.client.job_log(&self.job, self.from, true).await {
                    Ok(log) => {
                        self.log = Some(log);
                        continue;
                    }
                    Err(error) => Some(error),
                },
                Some(log) => match log.next().await {
                    Some(Ok(event)) => return Some(Ok(self.heard(event))),
                    Some(Err(error)) => Some(error),
                    // The server closes, or this end was too slow for it.
                    None => None,
                },
            };
            self.log = None;
            if let Some(error) = self.hopeless(ended) {
                self.done = true;
                return Some(Err(error));
            }
            tokio::time::sleep(self.backoff.failed(rand::random())).await;
        }
        None
    }

    fn heard(&mut self, event: LogEvent) -> LogEvent {
        match &event {
            LogEvent::Output(chunk) => {
                self.from = chunk.next;
                (self.backoff, self.since) = (PAUSES, None);
            }
            LogEvent::End(_) => self.done = true,
        }
        event
    }

    /// The error to give up with, if asking again cannot help or has not for too long.
    fn hopeless(&mut self, ended: Option<ClientError>) -> Option<ClientError> {
        let late = self.since.get_or_insert_with(Instant::now).elapsed() > PATIENCE;
        match ended {
            Some(error) => (late || !error.is_transient()).then_some(error),
            None => late.then(|| ClientError::Broken {
                target: self.client.target().clone(),
                message: "it closed the log repeatedly".to_owned(),
            }),
        }
    }
}
