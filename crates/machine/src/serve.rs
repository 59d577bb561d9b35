//! A ready machine: wait for work, do it, tell how it went.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fireactions_image::ImageConfig;
use fireactions_model::{
    ExponentialBackoff, Failure, FailureKind, ForgeError, JobId, MachineState, Offer, Outcome, Report, Step,
    Work,
};

use crate::asks::{Ask, Retire};
use crate::end::End;
use crate::guest::{Guest, died};
use crate::idle::Idle;
use crate::life::Life;
use crate::parts::Parts;
use crate::record::Record;
use crate::release::{Leaving, released};
use crate::work::{Done, Run};

/// Tries at a forge before a machine without work is given up.
const TRIES: u32 = 20;

impl Life {
    /// Serves one piece of work, or ends without. A machine that an earlier server gave work goes on with it: the forge
    /// binds the same work again.
    pub(crate) async fn serve(&mut self, guest: &Guest, image: &ImageConfig) -> Result<(), End> {
        if self.record.view().state == MachineState::Held {
            return Ok(());
        }
        let adopted = self.record.unreported();
        if adopted.is_none() && self.record.view().state != MachineState::Ready {
            Box::pin(self.record.enter(MachineState::Ready, Step::Ready)).await?;
        }
        let mut memory = Idle::new(&self.parts, &self.record, &guest.vm);
        let work = match Box::pin(self.wait_for_work(guest, &mut memory)).await {
            // The earlier server told the end and had no time to go on.
            Err(End::Failed(Failure { kind: FailureKind::Forge, .. }))
                if self.record.view().step == Step::Report =>
            {
                self.record.reported();
                return Ok(());
            }
            other => other?,
        };
        Box::pin(self.work(guest, image, work, adopted, memory)).await
    }

    /// Does the work, and tells how it went. `adopted` is the job that an earlier server gave the machine.
    async fn work(
        &mut self,
        guest: &Guest,
        image: &ImageConfig,
        work: Work,
        adopted: Option<JobId>,
        memory: Idle,
    ) -> Result<(), End> {
        let Self { parts, pool, record, asks, ended, .. } = &mut *self;
        if adopted.as_ref() != Some(&work.job) {
            record.restart_clock();
            tokio::select! {
                assigned = record.assigned(&work.job) => assigned?,
                exit = guest.vm.exited() => return Err(died(&exit, "before its job began")),
                why = asks.killed() => return Err(End::Retired(why)),
            }
        }
        memory.give_back().await;

        let earlier = ended.take();
        let run = Run { parts, pool, guest, image, work: &work, earlier: earlier.as_ref() };
        let Done { outcome, usage, notes } = Box::pin(run.perform(record, asks)).await;
        let report = Report { outcome, usage, phases: self.record.phases(), notes, autopsy: None };
        let (mut report, unused) = self.judge(&work.job, report).await;
        if matches!(report.outcome, Outcome::Lost { .. }) {
            report.autopsy = Some(self.last_look().await);
        }
        self.decide_on_sticky(&work.job, &report.outcome);
        Box::pin(self.conclude(&work.job, &report, unused)).await
    }

    /// Waits until the forge binds work to this machine, the guest dies, or somebody wants it gone. How long it may wait
    /// is its pool's affair.
    async fn wait_for_work(&mut self, guest: &Guest, memory: &mut Idle) -> Result<Work, End> {
        let Self { parts, pool, record, asks, .. } = self;
        let offer = Offer {
            machine: record.id().clone(),
            pool: Arc::clone(pool),
            shape: record.view().shape.clone(),
        };
        // Asked once and kept: while the forge makes the work ready (GitHub registers a runner, which may take minutes), the
        // pool may ask again and again whether the machine can go.
        let mut acquired = pin!(acquire(parts, &offer, record));
        let mut taken_back = pin!(memory.take_back());
        let mut leaving: Option<Leaving<'_>> = None;
        loop {
            tokio::select! {
                work = &mut acquired => {
                    // A machine that was released gets a refusal at the same time.
                    let goes = leaving.is_some() && work.is_err() && Leaving::decided(&mut leaving).await;
                    let Some(leaving) = leaving else { return work };
                    let why = leaving.answer(goes);
                    return if goes { Err(End::Retired(why)) } else { work };
                }
                goes = Leaving::decided(&mut leaving) => {
                    let Some(leaving) = leaving.take() else { continue };
                    let why = leaving.answer(goes);
                    if goes {
                        return Err(End::Retired(why));
                    }
                }
                exit = guest.vm.exited() => return Err(died(&exit, "while it waited for work")),
                reason = guest.agent_lost() => {
                    return Err(End::because(FailureKind::Guest, format!("{reason} (while it waited for work)")));
                }
                ask = asks.next() => match ask {
                    Ask::Kill { why } => return Err(End::Retired(why)),
                    Ask::Retire(Retire { why, answer }) => {
                        Leaving::ask(&mut leaving, why, answer, || released(parts, record.id()));
                    }
                },
                () = &mut taken_back => {}
            }
        }
    }
}

/// Asks the forge for work until it gives some; a refusal is final. A machine that has work already is not given up for a
/// forge that is out of reach: what it did would be done again.
async fn acquire(parts: &Parts, offer: &Offer, record: &Record) -> Result<Work, End> {
    let mut pauses = ExponentialBackoff::new(Duration::from_millis(400), Duration::from_secs(60));
    loop {
        let error = match parts.forge.acquire(offer).await {
            Ok(work) => return Ok(work),
            Err(error) => error,
        };
        if matches!(error, ForgeError::Refused(_)) {
            return Err(End::failed(FailureKind::Forge, "no work could be fetched", &error));
        }
        let pause = pauses.failed(rand::random());
        if pauses.failures() > TRIES && record.unreported().is_none() {
            return Err(End::failed(
                FailureKind::Forge,
                "no work could be fetched after 20 attempts",
                &error,
            ));
        }
        let wished = match error {
            ForgeError::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        tokio::time::sleep(wished.max(pause)).await;
    }
}
