//! Deliveries of webhooks that are to be made, and what became of those that were.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::delivery::Delivery;
use super::shared::{Shared, Site, wait_for};

/// A fake that tells of what happens by webhooks.
pub(crate) trait Posts: Site {
    /// A delivery that is to be made.
    type Outgoing: Clone + Send + 'static;
    /// One that was, and the answer to it.
    type Delivered: Clone + Send + 'static;
    /// It waits no longer for an answer.
    const PATIENCE: Duration;

    fn outbox(&mut self) -> &mut Outbox<Self::Outgoing, Self::Delivered>;

    /// Says that something changed that somebody may wait for.
    fn changed(&mut self);

    /// Makes a delivery.
    fn send(
        shared: Arc<Shared<Self>>,
        client: reqwest::Client,
        one: Self::Outgoing,
    ) -> impl Future<Output = Self::Delivered> + Send;
}

/// What is on its way, and what was.
#[derive(Debug)]
pub(crate) struct Outbox<O, D> {
    /// How the next deliveries are made; then normally.
    scripted: VecDeque<Delivery>,
    due: Vec<(Instant, O)>,
    under_way: usize,
    delivered: Vec<D>,
}

impl<O, D> Default for Outbox<O, D> {
    fn default() -> Self {
        Self { scripted: VecDeque::new(), due: Vec::new(), under_way: 0, delivered: Vec::new() }
    }
}

impl<O: Clone, D> Outbox<O, D> {
    /// How the next delivery is to be made.
    pub(crate) fn next(&mut self) -> Delivery {
        self.scripted.pop_front().unwrap_or(Delivery::Normal)
    }

    /// Has one made like this.
    pub(crate) fn post(&mut self, how: Delivery, one: &O) {
        self.due.extend(how.due().into_iter().map(|due| (due, one.clone())));
    }

    fn take_due(&mut self) -> Option<Vec<O>> {
        let now = Instant::now();
        let due: Vec<O> = self.due.extract_if(.., |(due, _)| *due <= now).map(|(_, one)| one).collect();
        self.under_way += due.len();
        (!due.is_empty()).then_some(due)
    }
}

/// Sends what is due, for ever.
pub(crate) async fn deliver<S: Posts>(shared: Arc<Shared<S>>) {
    let client = reqwest::Client::builder().no_proxy().timeout(S::PATIENCE).build().expect("a client");
    let mut sending = JoinSet::new();
    loop {
        let due = shared.poll(Duration::from_secs(3600), |state| state.outbox().take_due()).await;
        for one in due.into_iter().flatten() {
            let (shared, client) = (shared.clone(), client.clone());
            sending.spawn(async move {
                let delivered = S::send(shared.clone(), client, one).await;
                shared.with(|state| {
                    state.outbox().delivered.push(delivered);
                    state.outbox().under_way -= 1;
                    state.changed();
                });
            });
        }
        while sending.try_join_next().is_some() {}
    }
}

/// The answer's status, or why there was none.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Result<u16, String> {
    let answer = request.send().await;
    answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
}

impl<S: Posts> Shared<S> {
    /// The next so many deliveries are made like this; those after them normally.
    pub(crate) fn deliver_next(&self, count: usize, how: Delivery) {
        self.with(|state| state.outbox().scripted.extend(std::iter::repeat_n(how, count)));
    }

    /// Deliveries that were answered or failed, in that order.
    pub(crate) fn delivered(&self) -> Vec<S::Delivered> {
        self.with(|state| state.outbox().delivered.clone())
    }

    /// Waits until nothing is on its way or due later.
    pub(crate) fn wait_delivered(&self, within: Duration) {
        wait_for(self, "all webhooks are delivered", within, || {
            self.with(|state| {
                let outbox = state.outbox();
                (outbox.due.is_empty() && outbox.under_way == 0).then_some(())
            })
        });
    }
}
