//! The task of one machine: the stages in order, and teardown whatever happens. Each stage is a file of its own, with
//! its part of [`Life`]'s methods.

use std::sync::Arc;

use fireactions_image::ImageConfig;
use fireactions_model::{Failure, FailureKind, PoolSpec, Report, StartMode};
use fireactions_vmm::Vm;

use crate::asks::{Asks, Decided};
use crate::end::End;
use crate::made::Made;
use crate::parts::Parts;
use crate::record::Record;
use crate::templates::Templates;

/// Where a machine's task begins.
pub(crate) enum Start {
    /// With a fresh row.
    Fresh,
    /// With a VMM process that an earlier server started.
    Adopted(Box<Adopted>),
}

/// What an earlier server left of a machine.
pub(crate) struct Adopted {
    /// The process.
    pub(crate) vm: Vm,
    /// How its image wants programs to be run.
    pub(crate) image: Arc<ImageConfig>,
    /// How the process was started, where that is known.
    pub(crate) started: Option<StartMode>,
    /// When its job began, by the clock that all servers of this boot of the host have in common.
    pub(crate) busy_since: Option<u64>,
    /// How its program ended, where that was known already; the guest may have more to give.
    pub(crate) ended: Option<Report>,
    /// How its job ended, where that was being told already.
    pub(crate) report: Option<Report>,
}

/// A machine, from where it stands to nothing.
pub(crate) struct Life {
    pub(crate) parts: Parts,
    pub(crate) templates: Templates,
    pub(crate) pool: Arc<PoolSpec>,
    pub(crate) record: Record,
    pub(crate) asks: Asks,
    /// Whether what an operator wishes of it was looked at.
    pub(crate) decided: Decided,
    pub(crate) made: Made,
    /// How the program ended, as an earlier server saw it.
    pub(crate) ended: Option<Report>,
}

impl Life {
    /// Runs it. It and each of its stages are boxed, so that a task is as large as the stage that it is in, and not as the
    /// largest: most machines wait for work most of the time, and there may be a thousand of them.
    pub(crate) async fn run(mut self: Box<Self>, start: Start) {
        let end = Box::pin(self.stages(start)).await;
        let (id, pool) = (self.record.id().clone(), self.pool.name.clone());
        let (failure, wrong) = match end {
            Ok(()) => (None, None),
            Err(End::Retired(why)) => {
                tracing::info!(machine = %id, %pool, why, "machine retired");
                Box::pin(self.tell_unfinished(&why, None)).await;
                (None, None)
            }
            Err(End::JobFailed(message)) => (None, Some(Failure { kind: FailureKind::Job, message })),
            Err(End::Failed(failure)) => {
                tracing::warn!(machine = %id, %pool, kind = ?failure.kind, "machine failed: {}", failure.message);
                Box::pin(self.tell_unfinished(&failure.message, Some(&failure))).await;
                (Some(failure.clone()), Some(failure))
            }
        };
        Box::pin(self.hold(wrong)).await;
        Box::pin(self.teardown(failure)).await;
        self.asks.close();
    }

    async fn stages(&mut self, start: Start) -> Result<(), End> {
        let image = match start {
            Start::Fresh => Box::pin(self.create()).await?,
            Start::Adopted(adopted) => {
                let Adopted { vm, image, ended, report, .. } = *adopted;
                self.ended = ended;
                self.record.adopted(&vm);
                self.made.vm = Some(vm);
                if let Some(report) = report {
                    self.made.image = Some(image);
                    return Box::pin(self.tell_known(report)).await;
                }
                image
            }
        };
        self.made.image = Some(image.clone());
        let guest = Box::pin(self.boot(&image)).await?;
        Box::pin(self.serve(&guest, &image)).await
    }
}
