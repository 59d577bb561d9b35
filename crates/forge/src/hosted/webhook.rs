//! The webhook: a hint that comes at once. What it does not tell, the audit finds.

use std::sync::Mutex;
use std::time::Instant;

use fireactions_http::webhook::Deliveries;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::delivery::Delivery;
use super::remote::{Change, JobNews};
use super::webhook_secrets::Refused;
use super::{HostedForge, lock};

/// Deliveries that wait to be written down. One that finds no room is refused, and the forge shows it as failed; the audit
/// finds what it said.
const BACKLOG: usize = 4096;

/// Deliveries on their way.
pub(super) struct Intake {
    seen: Deliveries,
    sender: mpsc::Sender<JobNews>,
    receiver: Mutex<Option<mpsc::Receiver<JobNews>>>,
}

impl Default for Intake {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        Self { seen: Deliveries::default(), sender, receiver: Mutex::new(Some(receiver)) }
    }
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is taken, or was before, or is none of ours.
    Taken,
    /// It does not come from the forge, or the secret is another.
    Forged,
    /// It cannot be read; with the reason.
    Malformed(String),
    /// There is no room for it now.
    Busy,
    /// The secret cannot be read, or there is none; for the log alone.
    Unready(String),
}

impl HostedForge {
    /// Takes a delivery. What it says is on the board when this returns; what is written down of it follows.
    pub async fn deliver(&self, delivery: Delivery<'_>) -> Answer {
        let Some(secrets) = &self.inner.webhook_secrets else {
            return Answer::Unready("this forge has no webhook".to_owned());
        };
        let remote = &self.inner.remote;
        match secrets.verify(|secrets| remote.verify(secrets, &delivery)).await {
            Ok(()) => {}
            Err(Refused::Forged(_)) => {
                self.inner.counts.delivery("forged");
                return Answer::Forged;
            }
            Err(Refused::Unready(why)) => return Answer::Unready(why),
        }
        let news = match remote.parse(&self.inner.name, &delivery) {
            Ok(news) => news,
            Err(why) => {
                self.inner.counts.delivery("malformed");
                return Answer::Malformed(why);
            }
        };
        // Before it is remembered: the forge's second try is not to be taken for a repetition.
        let Ok(room) = self.inner.deliveries.sender.try_reserve() else {
            self.inner.counts.delivery("busy");
            return Answer::Busy;
        };
        // A delivery that is sent again is the forge's, under the same id; or somebody's who has heard it, and the id is not
        // signed.
        let (seen, now) = (&self.inner.deliveries.seen, Instant::now());
        let by_id = remote.delivery_id(&delivery).is_none_or(|id| seen.first(id.as_bytes(), now));
        if !by_id || !seen.first(delivery.body, now) {
            self.inner.counts.delivery("repeated");
            return Answer::Taken;
        }
        let Some(news) = news else {
            self.inner.counts.delivery("other");
            return Answer::Taken;
        };
        self.take(news, room)
    }

    fn take(&self, news: JobNews, room: mpsc::Permit<'_, JobNews>) -> Answer {
        let job = &news.job;
        let changed = {
            let mut board = self.heard();
            match news.change {
                Change::Queued => board.is_ours(job) && board.queue.add(job.clone()),
                Change::Began | Change::Ended => {
                    // Of all hosts' runners: what this host has of its own follows.
                    if let Some(runner) = news.runner.as_deref().filter(|_| self.inner.shared.is_some()) {
                        board.runner_began(runner, job.heard);
                    }
                    board.queue.remove(job.id, job.tries, job.heard)
                }
                Change::Other => false,
            }
        };
        if changed {
            self.wake();
        }
        if news.runner.is_some() {
            room.send(news);
        }
        self.inner.counts.delivery("taken");
        Answer::Taken
    }
}

/// Writes down what deliveries say of our runners, until `stop`.
pub(super) async fn apply(forge: HostedForge, stop: CancellationToken) {
    let Some(mut receiver) = lock(&forge.inner.deliveries.receiver).take() else { return };
    while let Some(Some(news)) = stop.run_until_cancelled(receiver.recv()).await {
        let row = news.runner.as_deref().and_then(|name| forge.board().runners.named(name).cloned());
        let Some(row) = row else { continue };
        let (job, ended) = (news.job, news.change == Change::Ended);
        let conclusion = job.remote.conclusion.clone();
        let describe = move |remote: &mut fireactions_model::RemoteJob| {
            job.describe(remote);
            // Forges forget a runner for one job with that job.
            remote.deregistered |= ended;
        };
        if ended {
            forge.over(&row, true, describe).await;
            forge.inner.remote.ended(&forge, &row, conclusion.as_deref());
        } else if news.change == Change::Began {
            forge.picked_up(&row, true, describe).await;
        }
    }
}
