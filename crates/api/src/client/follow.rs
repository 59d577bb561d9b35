//! A job's output to its end, or as it is now, over restarts and handovers of the server.

use std::time::Duration;

use fireactions_model::{ExponentialBackoff, JobId};
use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::{Client, ClientError, ClientStream, LogEvent, Result};

/// A server that restarts is waited for this long.
const PATIENCE: Duration = Duration::from_secs(90);
/// A log that was open this long was there: what ends it then is another restart.
const OPEN: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSES: ExponentialBackoff =
    ExponentialBackoff::new(Duration::from_millis(200), Duration::from_secs(5));

struct Follower {
    client: Client,
    job: JobId,
    /// Where the next piece begins.
    from: u64,
    /// Whether to the end of the job; else to the end of what there is.
    follow: bool,
    log: Option<ClientStream<LogEvent>>,
    /// Since when the log is open, or was when it was open last.
    opened: Option<Instant>,
    backoff: ExponentialBackoff,
    /// Since when there is no output and no log that stays open.
    since: Option<Instant>,
    done: bool,
}

impl Client {
    /// A job's output from a position on, as [`Client::job_log`] with `follow`, to [`LogEvent::End`]: when the server
    /// ends the log, is restarted or hands over, it is asked again, for a minute and a half, and goes on where it
    /// ended. Every piece comes once.
    pub fn follow_job(&self, job: &JobId, from: u64) -> ClientStream<LogEvent> {
        Follower::new(self, job, from, true).events()
    }

    /// A job's output as it is now, to [`LogEvent::End`]; where the server ends in between, as [`Client::follow_job`]. A server
    /// that is not there at first is not waited for.
    pub fn whole_log(&self, job: &JobId) -> ClientStream<LogEvent> {
        Follower::new(self, job, 0, false).events()
    }
}

impl Follower {
    fn new(client: &Client, job: &JobId, from: u64, follow: bool) -> Self {
        let (client, job) = (client.clone(), job.clone());
        Self { client, job, from, follow, log: None, opened: None, backoff: PAUSES, since: None, done: false }
    }

    fn events(self) -> ClientStream<LogEvent> {
        stream::unfold(self, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<LogEvent>> {
        while !self.done {
            let ended = match &mut self.log {
                None => match self.client.job_log(&self.job, self.from, self.follow).await {
                    Ok(log) => {
                        (self.log, self.opened) = (Some(log), Some(Instant::now()));
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
            let was_open = self.log.take().is_some();
            if was_open && self.opened.is_some_and(|opened| opened.elapsed() >= OPEN) {
                (self.backoff, self.since) = (PAUSES, None);
            }
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
        let unheard = !self.follow && self.opened.is_none();
        let late = unheard || self.since.get_or_insert_with(Instant::now).elapsed() > PATIENCE;
        match ended {
            Some(error) => (late || !error.is_transient()).then_some(error),
            None => late.then(|| ClientError::Broken {
                target: self.client.target().clone(),
                message: "it closed the log repeatedly".to_owned(),
            }),
        }
    }
}
