//! The task of one machine: the stages in order, and teardown whatever happens.

use fireactions_model::{Failure, MachineId, PoolSpec};
use tokio::sync::{mpsc, oneshot};

use crate::end::End;
use crate::parts::Parts;
use crate::record::Record;
use crate::{boot, create, serve, teardown};

/// What others may ask of a machine's task.
pub(crate) enum Ask {
    /// Go away if you have no work.
    Retire {
        /// For the log.
        why: String,
        /// False when it has work and stays.
        answer: oneshot::Sender<bool>,
    },
    /// Go away now; work that runs is told lost.
    Kill {
        /// For people.
        why: String,
    },
}

/// The machine's ear: requests that arrive while a stage runs.
pub(crate) struct Asks {
    receiver: mpsc::Receiver<Ask>,
}

impl Asks {
    pub(crate) fn new(receiver: mpsc::Receiver<Ask>) -> Self {
        Self { receiver }
    }

    /// The next request. Pends for ever once nobody can ask any more. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Ask {
        match self.receiver.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }

    /// For stages without work: any request means to go.
    pub(crate) async fn gone(&mut self) -> End {
        match self.next().await {
            Ask::Retire { why, answer } => {
                let _ = answer.send(true);
                End::Retired(why)
            }
            Ask::Kill { why } => End::Retired(why),
        }
    }
}

/// Runs a machine from its fresh row to nothing.
pub(crate) async fn live(parts: Parts, pool: PoolSpec, mut record: Record, mut asks: Asks) {
    let id: MachineId = record.id().clone();
    let mut made = create::Made::default();
    let end = stages(&parts, &pool, &mut record, &mut asks, &mut made).await.err();
    let failure: Option<Failure> = match end {
        None => None,
        Some(End::Retired(why)) => {
            tracing::info!(machine = %id, pool = %pool.name, why, "machine retired");
            None
        }
        Some(End::Failed(failure)) => {
            tracing::warn!(machine = %id, pool = %pool.name, kind = ?failure.kind, "machine failed: {}", failure.message);
            Some(failure)
        }
    };
    teardown::teardown(&parts, &pool, &mut record, made, failure).await;
    // Whoever asks from now on hears that it goes.
    asks.receiver.close();
    while let Ok(ask) = asks.receiver.try_recv() {
        if let Ask::Retire { answer, .. } = ask {
            let _ = answer.send(true);
        }
    }
}

async fn stages(
    parts: &Parts,
    pool: &PoolSpec,
    record: &mut Record,
    asks: &mut Asks,
    made: &mut create::Made,
) -> Result<(), End> {
    let image = create::create(parts, pool, record, asks, made).await?;
    let guest = boot::boot(parts, pool, record, asks, made, &image).await?;
    serve::serve(parts, pool, record, asks, &guest, &image).await
}
