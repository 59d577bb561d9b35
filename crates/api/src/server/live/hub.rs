//! One differ for all clients.
//!
//! It runs while somebody listens. Events of the engine only wake it: it looks at what is there, and says what is not as it was. Each
//! message is made once, and all clients have the same bytes in one ring; who falls out of the ring gets everything anew.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fireactions_model::Event;
use futures::{Stream, stream};
use jiff::Timestamp;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::diff::View;
use super::frame;
use crate::engine::Result;
use crate::{Code, Engine, Fault, LivePing};

/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// A look is followed by so many times its own length of rest, so that a large host's differ takes a fifth of a processor.
const REST: u32 = 4;
/// But by no more rest than this.
const REST_MOST: Duration = Duration::from_secs(2);
/// Until the next look when no event comes: not all that is shown has events (queues of forges, what jobs wait for).
const UNASKED: Duration = Duration::from_secs(1);
/// The least time between two changes of gauges: a disk that fills and requests that are counted are no events, and nobody is
/// told of each.
const GAUGES: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(15);
/// Messages that a client may be behind.
const QUEUE: usize = 64;

/// Where clients get the live view.
#[derive(Clone)]
pub(in crate::server) struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Arc<dyn Engine>,
    closing: CancellationToken,
    /// How long a look may take.
    patience: Duration,
    /// Whoever comes first looks, and the others wait for that.
    first: tokio::sync::Mutex<()>,
    board: Mutex<Board>,
}

/// What everybody has been told.
struct Board {
    revision: u64,
    at: Timestamp,
    /// When gauges were last taken over.
    gauged: Instant,
    /// There while the differ runs.
    view: Option<View>,
    /// The message with all of it, once somebody has needed it.
    snapshot: Option<Bytes>,
    out: broadcast::Sender<Bytes>,
    /// Why it cannot be brought up to date.
    broken: Option<Fault>,
}

impl Hub {
    pub(in crate::server) fn new(
        engine: Arc<dyn Engine>,
        patience: Duration,
        closing: CancellationToken,
    ) -> Self {
        let board = Board {
            revision: 0,
            at: Timestamp::UNIX_EPOCH,
            gauged: Instant::now(),
            view: None,
            snapshot: None,
            out: broadcast::channel(QUEUE).0,
            broken: None,
        };
        let (first, board) = (tokio::sync::Mutex::default(), Mutex::new(board));
        Self { shared: Arc::new(Shared { engine, closing, patience, first, board }) }
    }

    /// A client's messages: everything, then what changes.
    pub(super) async fn follow(&self) -> Result<impl Stream<Item = Bytes> + Send + 'static> {
        let shared = Arc::clone(&self.shared);
        let (snapshot, messages) = shared.join().await?;
        let start = (shared, Some(snapshot), messages);
        Ok(stream::unfold(start, |(shared, snapshot, mut messages)| async move {
            if let Some(snapshot) = snapshot {
                return Some((snapshot, (shared, None, messages)));
            }
            match messages.recv().await {
                Ok(message) => Some((message, (shared, None, messages))),
                Err(RecvError::Lagged(_)) => {
                    let (snapshot, messages) = shared.board().join(shared.engine.as_ref())?.ok()?;
                    Some((snapshot, (shared, None, messages)))
                }
                Err(RecvError::Closed) => None,
            }
        }))
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        // What is half-told after a panic has a revision that clients do not take.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn join(self: &Arc<Self>) -> Result<(Bytes, broadcast::Receiver<Bytes>)> {
        let _first = self.first.lock().await;
        if let Some(joined) = self.board().join(self.engine.as_ref()) {
            return joined;
        }
        // Before the look, so that nothing that happens meanwhile is slept over.
        let events = self.engine.events();
        let view = self.look().await?;
        let mut board = self.board();
        board.tell(view)?;
        let joined = board.join(self.engine.as_ref()).unwrap_or_else(|| Err(Fault::internal("no live view")));
        tokio::spawn(Arc::clone(self).run(events));
        joined
    }

    async fn look(&self) -> Result<View> {
        let looked = timeout(self.patience, View::look(self.engine.as_ref())).await;
        looked.unwrap_or_else(|_| {
            Err(Fault::new(Code::Timeout, "the server did not see its own state in time"))
        })
    }

    /// Looks again and again until nobody listens.
    async fn run(self: Arc<Self>, mut events: broadcast::Receiver<Event>) {
        let mut ping = interval_at(Instant::now() + PING, PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut next = Instant::now() + PAUSE;
        loop {
            let due = tokio::select! {
                due = self.due(next, &mut events) => due,
                _ = ping.tick() => {
                    self.board().ping();
                    continue;
                }
                () = self.closing.cancelled() => return,
            };
            if self.board().rest_if_alone() {
                return;
            }
            // What came until now is seen by this look.
            events = events.resubscribe();
            let looked = self.look().await;
            next = Instant::now() + (due.elapsed() * REST).clamp(PAUSE, REST_MOST);
            let mut board = self.board();
            if let Err(fault) = looked.and_then(|view| board.tell(view)) {
                if board.broken.is_none() {
                    tracing::warn!(why = %fault, "the live view stands still");
                }
                board.broken = Some(fault);
            }
        }
    }

    /// Waits until it is time to look: not before `next`, then at the next event, or when too long nothing was said. Gives the time.
    async fn due(&self, next: Instant, events: &mut broadcast::Receiver<Event>) -> Instant {
        tokio::time::sleep_until(next).await;
        let event = async {
            if let Err(RecvError::Closed) = events.recv().await {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = event => {}
            () = sleep(UNASKED) => {}
        }
        Instant::now()
    }
}

impl Board {
    /// The message with everything, and those that come after it. Nothing while there is no differ.
    fn join(&mut self, engine: &dyn Engine) -> Option<Result<(Bytes, broadcast::Receiver<Bytes>)>> {
        let view = self.view.as_ref()?;
        if let Some(fault) = &self.broken {
            return Some(Err(fault.clone()));
        }
        let made = match &self.snapshot {
            Some(made) => Ok(made.clone()),
            None => {
                frame("snapshot", self.revision, &view.snapshot(self.revision, self.at, engine.version()))
            }
        };
        Some(made.map(|made| {
            self.snapshot = Some(made.clone());
            (made, self.out.subscribe())
        }))
    }

    /// Takes a new view, and tells everybody what is different.
    fn tell(&mut self, view: View) -> Result<()> {
        let (revision, at) = (self.revision + 1, Timestamp::now());
        let view = match &self.view {
            Some(before) if self.gauged.elapsed() < GAUGES => view.with_gauges_of(before),
            _ => {
                self.gauged = Instant::now();
                view
            }
        };
        if let Some(before) = &self.view {
            let Some(delta) = before.delta(&view, revision, at) else {
                self.broken = None;
                return Ok(());
            };
            let message = frame("delta", revision, &delta)?;
            // Nobody may be there any more.
            let _ = self.out.send(message);
        }
        (self.revision, self.at, self.view) = (revision, at, Some(view));
        (self.snapshot, self.broken) = (None, None);
        Ok(())
    }

    /// Says that nothing has changed; not if nobody can know.
    fn ping(&self) {
        let ping = LivePing { revision: self.revision, at: Timestamp::now() };
        if self.broken.is_none()
            && let Ok(message) = frame("ping", self.revision, &ping)
        {
            let _ = self.out.send(message);
        }
    }

    /// Forgets the view if nobody listens.
    fn rest_if_alone(&mut self) -> bool {
        let alone = self.out.receiver_count() == 0;
        if alone {
            (self.view, self.snapshot, self.broken) = (None, None, None);
        }
        alone
    }
}
