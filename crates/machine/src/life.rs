//! The task of one machine: the stages in order, and teardown whatever happens.

use fireactions_image::ImageConfig;
use fireactions_model::{Failure, FailureKind, MachineId, PoolSpec, StartMode};
use fireactions_vmm::Vm;
use tokio::sync::{mpsc, oneshot};

use crate::end::End;
use crate::parts::Parts;
use crate::record::Record;
use crate::templates::Templates;
use crate::{boot, create, hold, serve, teardown};

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

    /// For stages with work: only a kill means to go.
    pub(crate) async fn killed(&mut self) -> String {
        loop {
            match self.next().await {
                Ask::Kill { why } => return why,
                Ask::Retire { answer, .. } => {
                    let _ = answer.send(false);
                }
            }
        }
    }
}

/// Where a machine's task begins.
pub(crate) enum Start {
    /// With a fresh row.
    Fresh,
    /// With a VMM process that an earlier server started.
    Adopted {
        /// The process.
        vm: Vm,
        /// How its image wants programs to be run.
        image: Box<ImageConfig>,
        /// How the process was started, where that is known.
        started: Option<StartMode>,
    },
}

/// Runs a machine from where it stands to nothing.
pub(crate) async fn live(
    parts: Parts,
    templates: Templates,
    pool: PoolSpec,
    mut record: Record,
    mut asks: Asks,
    start: Start,
) {
    let id: MachineId = record.id().clone();
    let mut made = create::Made::default();
    let end = stages(&parts, &templates, &pool, &mut record, &mut asks, &mut made, start).await;
    let (failure, wrong) = match end {
        Ok(()) => (None, None),
        Err(End::Retired(why)) => {
            tracing::info!(machine = %id, pool = %pool.name, why, "machine retired");
            serve::tell_unfinished(&parts, &mut record, &made, &why).await;
            (None, None)
        }
        Err(End::JobFailed(message)) => (None, Some(Failure { kind: FailureKind::Job, message })),
        Err(End::Failed(failure)) => {
            tracing::warn!(machine = %id, pool = %pool.name, kind = ?failure.kind, "machine failed: {}", failure.message);
            serve::tell_unfinished(&parts, &mut record, &made, &failure.message).await;
            (Some(failure.clone()), Some(failure))
        }
    };
    hold::hold(&pool, &mut record, &mut asks, &made, wrong).await;
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
    templates: &Templates,
    pool: &PoolSpec,
    record: &mut Record,
    asks: &mut Asks,
    made: &mut create::Made,
    start: Start,
) -> Result<(), End> {
    let image = match start {
        Start::Fresh => create::create(parts, templates, pool, record, asks, made).await?,
        Start::Adopted { vm, image, .. } => {
            record.adopted(&vm);
            made.vm = Some(vm);
            *image
        }
    };
    made.image = Some(image.clone());
    let guest = boot::boot(parts, pool, record, asks, made, &image).await?;
    serve::serve(parts, pool, record, asks, &guest, &image).await
}
