//! The webhook: a hint that comes at once. What it does not tell, the audit finds.

use std::sync::Mutex;
use std::time::Instant;

use fireactions_github::JobStatus;
use fireactions_github::webhook::{Deliveries, Event, WorkflowJobEvent, parse};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::board::Waiting;
use super::webhook_secrets::Refused;
use super::{GithubForge, lock};

/// Deliveries that wait to be written down. One that finds no room is refused, and GitHub shows it as failed; the audit
/// finds what it said.
const BACKLOG: usize = 4096;

/// Longest body of a delivery that is read, in bytes.
pub const MAX_DELIVERY: usize = fireactions_github::webhook::MAX_BODY;

/// Deliveries on their way.
pub(super) struct Intake {
    seen: Deliveries,
    sender: mpsc::Sender<WorkflowJobEvent>,
    receiver: Mutex<Option<mpsc::Receiver<WorkflowJobEvent>>>,
}

impl Default for Intake {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        Self { seen: Deliveries::default(), sender, receiver: Mutex::new(Some(receiver)) }
    }
}

/// A delivery as it came: nothing of it is trusted yet.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// `X-GitHub-Event`.
    pub event: Option<&'a str>,
    /// `X-GitHub-Delivery`.
    pub id: Option<&'a str>,
    /// `X-Hub-Signature-256`.
    pub signature: Option<&'a str>,
    /// The body as it was sent.
    pub body: &'a [u8],
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is taken, or was before, or is none of ours.
    Taken,
    /// It does not come from GitHub, or the secret is another.
    Forged,
    /// It cannot be read; with the reason.
    Malformed(String),
    /// There is no room for it now.
    Busy,
    /// The secret cannot be read, or there is none; for the log alone.
    Unready(String),
}

impl GithubForge {
    /// Takes a delivery. What it says is on the board when this returns; what is written down of it follows.
    pub async fn deliver(&self, delivery: Delivery<'_>) -> Answer {
        let Some(secrets) = &self.inner.webhook_secrets else {
            return Answer::Unready("there is no webhook".to_owned());
        };
        match secrets.verify(delivery.body, delivery.signature).await {
            Ok(()) => {}
            Err(Refused::Forged(_)) => {
                self.inner.counts.delivery("forged");
                return Answer::Forged;
            }
            Err(Refused::Unready(why)) => return Answer::Unready(why),
        }
        let event = match parse(delivery.event.unwrap_or_default(), delivery.body) {
            Ok(event) => event,
            Err(error) => {
                self.inner.counts.delivery("malformed");
                return Answer::Malformed(error.to_string());
            }
        };
        // Before it is remembered: GitHub's second try is not to be taken for a repetition.
        let Ok(room) = self.inner.deliveries.sender.try_reserve() else {
            self.inner.counts.delivery("busy");
            return Answer::Busy;
        };
        // A delivery that is sent again is GitHub's, under the same id; or somebody's who has heard it, and the id is not
        // signed.
        let (seen, now) = (&self.inner.deliveries.seen, Instant::now());
        let by_id = delivery.id.is_some_and(|id| seen.first(id.as_bytes(), now));
        if !by_id || !seen.first(delivery.body, now) {
            self.inner.counts.delivery("repeated");
            return Answer::Taken;
        }
        match event {
            Event::WorkflowJob(event) => self.take(*event, room),
            Event::Ping | Event::Other(_) => {
                self.inner.counts.delivery("other");
                Answer::Taken
            }
        }
    }

    fn take(&self, event: WorkflowJobEvent, room: mpsc::Permit<'_, WorkflowJobEvent>) -> Answer {
        let job = &event.job;
        let repository = job.repository.to_string();
        let changed = {
            let mut board = self.board();
            match job.status {
                JobStatus::Queued => {
                    let ours = board.is_ours(&repository, &job.labels);
                    ours && board.queue.add(Waiting::of(job, job.repository.owner(), Timestamp::now()))
                }
                JobStatus::InProgress | JobStatus::Completed => board.queue.remove(job.id.get()),
                // It waits for something else than a runner.
                JobStatus::Waiting | JobStatus::Pending | JobStatus::Requested => false,
            }
        };
        if changed {
            self.wake();
        }
        if job.runner_name.is_some() {
            room.send(event);
        }
        self.inner.counts.delivery("taken");
        Answer::Taken
    }
}

/// Writes down what deliveries say of our runners, until `stop`.
pub(super) async fn apply(forge: GithubForge, stop: CancellationToken) {
    let Some(mut receiver) = lock(&forge.inner.deliveries.receiver).take() else { return };
    while let Some(Some(event)) = stop.run_until_cancelled(receiver.recv()).await {
        let job = event.job;
        let row = job.runner_name.as_deref().and_then(|name| forge.board().runners.named(name).cloned());
        let Some(row) = row else { continue };
        let ended = job.status == JobStatus::Completed;
        let describe = move |remote: &mut fireactions_model::RemoteJob| {
            super::board::describe(remote, &job);
            // GitHub forgets a runner with its job.
            remote.deregistered |= ended;
        };
        if ended {
            forge.over(&row, true, describe).await;
        } else {
            forge.picked_up(&row, true, describe).await;
        }
    }
}
