//! From a bounded queue to the collector, in a task of its own.

use std::time::Duration;

use fireactions_model::ExponentialBackoff;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::collector::{Collector, Settings, SettingsError};
use crate::counts::{Counts, Dropped};
use crate::trace::Trace;

/// Traces in one request.
const BATCH: usize = 64;

/// How long is waited for a collector, and how many wait.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The most traces that wait; what comes then is dropped.
    pub queue: usize,
    /// The first pause after a failure; they double.
    pub first_pause: Duration,
    /// The longest pause, whatever the collector asks for.
    pub longest_pause: Duration,
    /// From the first try of some traces until they are dropped.
    pub give_up: Duration,
    /// At the server's end, for all that waits: clients may wait for the next server.
    pub closing: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            queue: 1024,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            give_up: Duration::from_secs(600),
            closing: Duration::from_secs(1),
        }
    }
}

impl Patience {
    /// The pause before the next try: ours, unless the collector wants a longer one. A little later than it wants, for it has
    /// told others the same.
    fn pause(&self, wanted: Option<Duration>, own: Duration, random: f64) -> Duration {
        let wanted = wanted.map(|wanted| wanted + ExponentialBackoff::jitter(self.first_pause, random));
        wanted.unwrap_or_default().max(own).min(self.longest_pause)
    }
}

/// Where traces are put that are to be sent. When it is dropped, what waits is still sent, for some seconds.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Sender<Trace>,
    counts: Counts,
    /// It was said that the queue is full, and it has not been otherwise since.
    full: bool,
}

impl Exporter {
    /// Begins to send. `closing`: what waits is sent soon or never.
    ///
    /// # Errors
    ///
    /// Settings by which no collector can be reached. Whether one is there is not asked.
    pub fn start(
        settings: Settings,
        patience: Patience,
        counts: Counts,
        closing: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), SettingsError> {
        let collector = Collector::new(settings)?;
        let (queue, traces) = mpsc::channel(patience.queue);
        let worker = Worker { collector, traces, patience, counts: counts.clone(), told: false };
        let task = tokio::spawn(worker.run(closing));
        Ok((Self { queue, counts, full: false }, task))
    }

    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Nothing waits, and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.counts.none_waits()
    }

    /// Puts a trace into the queue, or drops it. Never waits.
    pub fn tell(&mut self, trace: Trace) {
        self.counts.waits();
        let full = match self.queue.try_send(trace) {
            Ok(()) => false,
            Err(TrySendError::Full(_)) => {
                self.counts.dropped(Dropped::Full, 1);
                true
            }
            Err(TrySendError::Closed(_)) => {
                self.counts.dropped(Dropped::Stopped, 1);
                return;
            }
        };
        if full && !self.full {
            tracing::warn!("more traces wait for telemetry.otlp's collector than are kept; some are dropped");
        }
        self.full = full;
    }
}

struct Worker {
    collector: Collector,
    traces: mpsc::Receiver<Trace>,
    patience: Patience,
    counts: Counts,
    /// It was said that the collector does not take them, and it has taken none since.
    told: bool,
}

impl Worker {
    async fn run(mut self, closing: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        let patience = self.patience.closing;
        let late = async {
            closing.cancelled().await;
            sleep(patience).await;
        };
        tokio::select! {
            () = self.all(&mut batch) => return,
            () = late => {}
        }
        self.traces.close();
        let mut left = batch.len() as u64;
        while self.traces.try_recv().is_ok() {
            left += 1;
        }
        if left > 0 {
            tracing::warn!(
                traces = left,
                "these traces could not be sent before the server's end; the next one sends them"
            );
            self.counts.dropped(Dropped::Stopped, left);
        }
    }

    /// Sends until there will be no more. What is on its way is in `batch`.
    async fn all(&mut self, batch: &mut Vec<Trace>) {
        while self.traces.recv_many(batch, BATCH).await > 0 {
            self.send(batch).await;
            batch.clear();
        }
    }

    async fn send(&mut self, batch: &[Trace]) {
        let traces = batch.len() as u64;
        let until = Instant::now() + self.patience.give_up;
        let mut pauses = ExponentialBackoff::new(self.patience.first_pause, self.patience.longest_pause);
        loop {
            let (wanted, why) = match self.collector.tell(batch).await {
                Answer::Taken => return self.taken(traces),
                Answer::Partly { rejected, why } => {
                    tracing::warn!(
                        spans = rejected,
                        "telemetry.otlp's collector did not want some spans: {why}"
                    );
                    self.counts.rejected(rejected);
                    return self.taken(traces);
                }
                Answer::Never(why) => {
                    self.counts.failed();
                    self.counts.dropped(Dropped::Refused, traces);
                    return self.say(&format!("traces were refused and dropped: {why}"));
                }
                Answer::Later { after, why } => (after, why),
            };
            self.counts.failed();
            self.say(&format!("traces cannot be sent for now: {why}"));
            let pause = self.patience.pause(wanted, pauses.failed(rand::random()), rand::random());
            if timeout_at(until, sleep(pause)).await.is_err() {
                return self.counts.dropped(Dropped::Unreachable, traces);
            }
        }
    }

    fn taken(&mut self, traces: u64) {
        if std::mem::take(&mut self.told) {
            tracing::info!("telemetry.otlp's collector takes traces again");
        }
        self.counts.sent(traces);
    }

    /// Once, until it works again.
    fn say(&mut self, what: &str) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!("telemetry.otlp: {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_may_ask_for_longer_pauses_up_to_a_longest() {
        let patience = Patience::default();
        let (two, thirty) = (Duration::from_secs(2), Duration::from_secs(30));
        assert_eq!(patience.pause(None, two, 1.0), two);
        assert_eq!(patience.pause(Some(Duration::ZERO), two, 1.0), two);
        assert_eq!(patience.pause(Some(thirty), two, 1.0), thirty + patience.first_pause);
        assert_eq!(patience.pause(Some(thirty), two, 0.0), thirty + patience.first_pause / 2);
        assert_eq!(patience.pause(Some(Duration::from_secs(86_400)), two, 1.0), patience.longest_pause);
    }
}
